"""`seatrial agent`: one lazy group of groups; each file holds verbs that belong together."""

from __future__ import annotations

import click

from seatrial.cli.groups import LazyGroup

_LIFE, _TALK, _WORK, _SETUP = (f"seatrial.cli.agent_{part}" for part in ("life", "talk", "work", "setup"))
VERBS = {
    "init": (f"{_SETUP}:init", "Prepare a repository for agents."),
    "start": (f"{_LIFE}:start", "Make an agent, if it is new, and start it on a task."),
    "create": (f"{_LIFE}:create", "Make an agent and start nothing."),
    "list": (f"{_LIFE}:list_", "List the agents of this project."),
    "show": (f"{_LIFE}:show", "Show all that is known of an agent."),
    "stop": (f"{_LIFE}:stop", "Stop agents."),
    "resume": (f"{_LIFE}:resume", "Start an agent again, with its conversation."),
    "wait": (f"{_LIFE}:wait", "Wait until an agent is idle, done, asks or has stopped."),
    "fork": (f"{_LIFE}:fork", "Copy an agent: workspace, home and conversation."),
    "delete": (f"{_LIFE}:delete", "Delete agents; refuses while work is unmerged."),
    "attach": (f"{_TALK}:attach", "Show an agent's terminal in this one."),
    "look": (f"{_TALK}:look", "Print what an agent's terminal shows."),
    "logs": (f"{_TALK}:logs", "Print what an agent's terminal printed."),
    "events": (f"{_TALK}:events", "List what happened to agents."),
    "message": (f"{_TALK}:message", "Send a message to an agent, or to all."),
    "inbox": (f"{_TALK}:inbox", "Show what agents wrote to you."),
    "diff": (f"{_WORK}:diff", "Show what an agent changed."),
    "merge": (f"{_WORK}:merge", "Plan landing an agent's work, show the plan, and do it."),
    "conflicts": (f"{_WORK}:conflicts", "Show which agents' work does not go together."),
    "publish": (f"{_WORK}:publish", "Show an agent's commits as a branch of your repository."),
    "exec": (f"{_WORK}:exec_", "Run a command in an agent's sandbox."),
    "ports": (f"{_WORK}:ports", "List what listens inside."),
    "open": (f"{_WORK}:open_", "Show a port inside on this machine's loopback."),
    "template": (f"{_SETUP}:template", "Templates: what agents are told and given."),
    "harness": (f"{_SETUP}:harness", "Harnesses: the coding agents that can be run."),
    "image": (f"{_SETUP}:image", "Root file systems unpacked from OCI images."),
    "keys": (f"{_SETUP}:keys", "Keys of model APIs; they never enter a sandbox."),
    "budget": (f"{_SETUP}:budget", "Show or change what an agent may spend."),
    "policy": (f"{_SETUP}:policy", "Show what an agent may touch."),
    "doctor": (f"{_SETUP}:doctor", "Check whether agents can run here."),
}


@click.group(cls=LazyGroup, lazy=VERBS)
def agent() -> None:
    """Run coding agents, each in a sandbox of its own, with its own git, no keys inside, and a budget.

    \b
    Examples:
      seatrial agent start ada "Fix the failing test" --harness claude-code --usd 2
      seatrial agent look ada
      seatrial agent diff ada
      seatrial agent merge ada
    """
