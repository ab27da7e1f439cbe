"""Every error that a user can meet.  The docstring is the message when none is given.

`message` says what was wrong and where, `hint` what to do next, `facts` carries the same as data.
`code` (snake case of the class name) is what `--json` prints and programs test for.
"""

from __future__ import annotations

import re
from typing import Any


class SeatrialError(Exception):
    """Something went wrong."""

    exit_code = 1

    def __init__(self, message: str | None = None, *, hint: str | None = None, **facts: Any) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        self.hint = hint
        self.facts = facts
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """Stable machine name, e.g. `picture_error`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def as_dict(self) -> dict[str, Any]:
        """Return the `error` part of the JSON envelope."""
        facts = {key: str(value) for key, value in self.facts.items()}
        return {"code": self.code, "message": self.message, "hint": self.hint, **facts}


class SettingError(SeatrialError):
    """A setting has a value that is not allowed."""

    exit_code = 2


class MissingExtraError(SeatrialError):
    """An optional part of Seatrial is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"This needs the Python package '{package}', which is not installed.",
            hint=f"pip install 'seatrial[{extra}]'",
            package=package,
        )


class StorageError(SeatrialError):
    """A file or folder of Seatrial's own could not be written or read."""


class StoreError(SeatrialError):
    """The state store could not be opened or used."""


class EvidenceError(SeatrialError):
    """A piece of evidence is malformed or missing."""


class InputFileError(SeatrialError):
    """A file handed in cannot be read."""


class PictureError(InputFileError):
    """A picture cannot be decoded."""


class DocumentError(InputFileError):
    """A document cannot be opened."""


class VideoError(InputFileError):
    """A video cannot be decoded."""


class ModelError(SeatrialError):
    """A model folder cannot be used."""


class WeightsError(ModelError):
    """A weights file is damaged or does not fit its configuration."""


class TokenizerError(ModelError):
    """A tokenizer cannot be used with this model."""


class HubError(SeatrialError):
    """A model could not be fetched."""


class PromptError(SeatrialError):
    """The messages cannot be turned into a prompt."""


class ContextOverflowError(PromptError):
    """The prompt does not fit the model's context."""


class ComputeError(SeatrialError):
    """The model computed something that is not a number."""


class CapacityError(SeatrialError):
    """There is no room for this now."""


class BusyError(CapacityError):
    """Too many requests are waiting."""


class AgentError(SeatrialError):
    """Something is wrong with an agent."""


class UnknownAgentError(AgentError):
    """There is no such agent."""


class ProjectError(AgentError):
    """This folder cannot be used as a project of agents."""


class PolicyError(AgentError):
    """A policy asks for something that is not allowed."""

    exit_code = 2


class HarnessError(AgentError):
    """A harness definition or its program cannot be used."""


class TemplateError(AgentError):
    """A template cannot be used."""


class SandboxError(AgentError):
    """The sandbox could not be set up."""


class GatewayError(AgentError):
    """The gateway cannot do this."""


class SecretKeyError(GatewayError):
    """A key is missing or malformed."""


class RecordingError(GatewayError):
    """A recording is damaged, or does not hold this request."""


class MessageError(AgentError):
    """A message cannot be taken."""


class GitError(AgentError):
    """A git repository cannot be used."""


class RelayError(GitError):
    """What an agent handed over is not accepted."""


class UnmergedWorkError(GitError):
    """The agent has work that is not merged."""

    exit_code = 3


class MergeConflictError(GitError):
    """The agent's work conflicts with what is there."""

    exit_code = 3


class DatabaseError(SeatrialError):
    """Something is wrong with a database."""


class PostgresError(DatabaseError):
    """A Postgres server cannot be found, started or reached."""


class StatementError(DatabaseError):
    """SQL that was handed in cannot be taken."""


class SourceError(DatabaseError):
    """A source of branches cannot be used."""


class BranchError(DatabaseError):
    """A branch cannot be made or used."""


class UnknownBranchError(BranchError):
    """There is no such branch."""


class MaskingError(DatabaseError):
    """The masking policy does not cover what is there."""


class ProposalError(DatabaseError):
    """A proposal cannot be made, read or changed."""


class RefusedError(DatabaseError):
    """The gate refuses this."""

    exit_code = 3


class DriftError(RefusedError):
    """Production is not what the proposal was measured against."""


class ApplyError(DatabaseError):
    """A change could not be applied."""


class AuditError(DatabaseError):
    """The audit log has been tampered with or cannot be written."""

    exit_code = 3
