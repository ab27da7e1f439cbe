"""Agents: a hypervisor for coding agents.

from seatrial import agents
project = agents.find_project()
agents.start(project, "ada", agents.Choices(harness="claude-code", task="Fix the failing test."))
agents.wait(project, "ada", ("idle",), seconds=600)
print(agents.diff(project, "ada").committed)
agents.execute_merge(project, agents.plan_merge(project, "ada"))
"""

from seatrial.errors import MissingExtraError

try:
    from seatrial.agents.access import Port, attach, events, execute, forward, logs, look, ports
    from seatrial.agents.configuration import write_example as write_configuration
    from seatrial.agents.doctor import doctor
    from seatrial.agents.gateway.keys import list_keys, remove_key, set_key
    from seatrial.agents.git.diffs import Diff
    from seatrial.agents.git.merge import MergePlan
    from seatrial.agents.harness import Harness, all_harnesses, installed
    from seatrial.agents.harness import find as find_harness
    from seatrial.agents.harness import read as read_harness
    from seatrial.agents.images import images as list_images
    from seatrial.agents.images import import_image, remove_image
    from seatrial.agents.life import (
        create,
        delete,
        fork,
        projects_with_agents,
        reconcile,
        resume,
        set_budget,
        start,
        stop,
        wait,
    )
    from seatrial.agents.mailbox import Message, acknowledge, send, wait_delivered, waiting
    from seatrial.agents.mailbox import history as message_history
    from seatrial.agents.policy import Policy, parse_seconds, parse_size
    from seatrial.agents.project import Project, find_project
    from seatrial.agents.provision import prepare
    from seatrial.agents.records import AgentRecord, Event
    from seatrial.agents.runtime.base import RUNTIMES, Finding
    from seatrial.agents.specification import AgentSpec, Choices
    from seatrial.agents.specification import resolve as resolve_spec
    from seatrial.agents.telemetry import export_events
    from seatrial.agents.templates import chain as template_chain
    from seatrial.agents.templates import create as create_template
    from seatrial.agents.templates import delete as delete_template
    from seatrial.agents.templates import names as template_names
    from seatrial.agents.work import collect, diff, execute_merge, plan_merge, preview_between, publish
except ModuleNotFoundError as problem:
    raise MissingExtraError(str(problem.name).partition(".")[0], "agents") from problem

__all__ = [
    "RUNTIMES",
    "AgentRecord",
    "AgentSpec",
    "Choices",
    "Diff",
    "Event",
    "Finding",
    "Harness",
    "MergePlan",
    "Message",
    "Policy",
    "Port",
    "Project",
    "acknowledge",
    "all_harnesses",
    "attach",
    "collect",
    "create",
    "create_template",
    "delete",
    "delete_template",
    "diff",
    "doctor",
    "events",
    "execute",
    "execute_merge",
    "export_events",
    "find_harness",
    "find_project",
    "fork",
    "forward",
    "import_image",
    "installed",
    "list_images",
    "list_keys",
    "logs",
    "look",
    "message_history",
    "parse_seconds",
    "parse_size",
    "plan_merge",
    "ports",
    "prepare",
    "preview_between",
    "projects_with_agents",
    "publish",
    "read_harness",
    "reconcile",
    "remove_image",
    "remove_key",
    "resolve_spec",
    "resume",
    "send",
    "set_budget",
    "set_key",
    "start",
    "stop",
    "template_chain",
    "template_names",
    "wait",
    "wait_delivered",
    "waiting",
    "write_configuration",
]
