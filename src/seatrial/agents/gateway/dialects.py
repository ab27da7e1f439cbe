"""What is particular to each model API, as data: paths that are let through, credentials, shapes of errors.

The key has the powers of a whole account.  Only paths that a conversation needs are let through, so an agent
reaches neither files nor batches, fine-tuning, organisation or key administration with it.  What this does not
protect: tools that the provider itself runs (web search, code execution, remote MCP servers) are asked for in the
body of an allowed request, and the provider's machines then reach hosts that are not on the allow-list.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

GENERATE, COUNT, LIST = "generate", "count", "list"
"""Kinds of paths: costs tokens; counts them without cost; describes models."""

_MODEL = r"[A-Za-z0-9][A-Za-z0-9._:@/-]*"


@dataclass(frozen=True)
class Dialect:
    """One model API: `routes` are (method, pattern of the whole path, kind)."""

    name: str
    credential: tuple[str, str]
    routes: tuple[tuple[str, str, str], ...]

    def kind(self, method: str, path: str) -> str | None:
        """Return what `path` is for, or None when it is not let through."""
        if "%" in path or "\\" in path or "//" in path or "/." in path:
            return None
        for allowed, pattern, kind in self.routes:
            if method == allowed and re.fullmatch(pattern, path):
                return kind
        return None


DIALECTS = {
    "anthropic": Dialect(
        "anthropic",
        ("x-api-key", ""),
        (
            ("POST", r"/v1/messages", GENERATE),
            ("POST", r"/v1/messages/count_tokens", COUNT),
            ("GET", rf"/v1/models(/{_MODEL})?", LIST),
        ),
    ),
    "openai": Dialect(
        "openai",
        ("authorization", "Bearer "),
        (
            ("POST", r"(/v[0-9]+)?/responses(/compact)?", GENERATE),
            ("POST", r"(/v[0-9]+)?/responses/input_tokens", COUNT),
            ("POST", r"(/v[0-9]+)?/chat/completions", GENERATE),
            ("POST", r"(/v[0-9]+)?/embeddings", GENERATE),
            ("GET", rf"(/v[0-9]+)?/models(/{_MODEL})?", LIST),
        ),
    ),
    "gemini": Dialect(
        "gemini",
        ("x-goog-api-key", ""),
        (
            ("POST", r"/v1(alpha|beta)?/models/[A-Za-z0-9._-]+:(generateContent|streamGenerateContent)", GENERATE),
            ("POST", r"/v1(alpha|beta)?/models/[A-Za-z0-9._-]+:countTokens", COUNT),
            ("GET", r"/v1(alpha|beta)?/models(/[A-Za-z0-9._-]+)?", LIST),
        ),
    ),
}

CREDENTIAL_HEADERS = frozenset({"x-api-key", "api-key", "authorization", "x-goog-api-key", "proxy-authorization"})
CREDENTIAL_PARAMETERS = frozenset({"key", "api_key", "api-key", "access_token"})

# Why 400 for a spent budget: no SDK repeats a 400, while 429 and 5xx are repeated for minutes, and some clients answer
# 401 and 403 by asking for a new login.
_REASONS = {
    "budget": (400, "billing_error", "insufficient_quota", "FAILED_PRECONDITION"),
    "denied": (404, "not_found_error", "invalid_request_error", "NOT_FOUND"),
    "request": (400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    "encoding": (415, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    "upgrade": (426, "invalid_request_error", "invalid_request_error", "FAILED_PRECONDITION"),
    "too_large": (413, "request_too_large", "invalid_request_error", "INVALID_ARGUMENT"),
    "replay": (400, "invalid_request_error", "invalid_request_error", "FAILED_PRECONDITION"),
    "upstream": (502, "api_error", "server_error", "UNAVAILABLE"),
    "timeout": (504, "api_error", "server_error", "DEADLINE_EXCEEDED"),
    "internal": (500, "api_error", "server_error", "INTERNAL"),
}


def refusal(dialect: str, reason: str, message: str) -> tuple[int, bytes]:
    """Return status and JSON body of an error in the shape that clients of `dialect` read."""
    status, anthropic, openai, gemini = _REASONS[reason]
    if dialect == "anthropic":
        body: dict[str, object] = {"type": "error", "error": {"type": anthropic, "message": message}}
    elif dialect == "gemini":
        body = {"error": {"code": status, "message": message, "status": gemini}}
    else:
        code = "insufficient_quota" if reason == "budget" else reason
        body = {"error": {"message": message, "type": openai, "param": None, "code": code}}
    return status, json.dumps(body).encode()
