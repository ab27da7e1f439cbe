"""`seatrial agent init | template | harness | keys | budget | policy | doctor`."""

from __future__ import annotations

import getpass
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from seatrial.cli import progress
from seatrial.cli.agent_options import budget_of, choices_of, choosing, in_project, project_of, table
from seatrial.cli.groups import JsonCommand
from seatrial.errors import AgentError
from seatrial.settings import Secret


@click.command(cls=JsonCommand)
@click.option("--trust", is_flag=True, help="Let what is in .seatrial, as it is now, open the sandbox.")
@in_project
def init(trust: bool, **options: Any) -> dict[str, Any]:
    """Prepare a repository for agents: write .seatrial/agents.toml to fill in; of a big one, check out a shared tree.

    \b
    Examples:
      seatrial agent init
      seatrial agent init --trust
    """
    from seatrial import agents

    project = project_of(options)
    file = agents.write_configuration(project)
    if trust:
        project.trust()
    with progress.working("checking out the tree that agents will share", quiet=options["as_json"]):
        prepared = agents.prepare(project)
    if not options["as_json"]:
        click.echo(f"{file}\nstate: {project.folder}")
    return {"file": str(file), "folder": str(project.folder), "trusted": project.is_trusted, "prepared": prepared}


@click.group()
def template() -> None:
    """Templates: what agents are told and given, whichever coding agent they are."""


@template.command("list", cls=JsonCommand)
@in_project
def template_list(**options: Any) -> dict[str, Any]:
    """List the templates of the project and of your own.

    \b
    Example:
      seatrial agent template list
    """
    from seatrial import agents

    names = agents.template_names(project_of(options).root)
    if not options["as_json"]:
        click.echo("\n".join(names))
    return {"templates": names}


@template.command("show", cls=JsonCommand)
@click.argument("name")
@in_project
def template_show(name: str, **options: Any) -> dict[str, Any]:
    """Show a template and those it extends, the lowest first.

    \b
    Example:
      seatrial agent template show reviewer
    """
    from seatrial import agents

    chain = agents.template_chain(name, project_of(options).root)
    facts = [{"name": t.name, "folder": str(t.folder), "values": t.values, "instructions": t.text("instructions.md")}
             for t in chain]  # fmt: skip
    if not options["as_json"]:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    return {"chain": facts}


@template.command("create", cls=JsonCommand)
@click.argument("name")
@click.option("--extends", default="", help="Template below it.")
@in_project
def template_create(name: str, extends: str, **options: Any) -> dict[str, Any]:
    """Make a template to fill in, in .seatrial/templates/NAME.

    \b
    Example:
      seatrial agent template create reviewer --extends default
    """
    from seatrial import agents

    folder = agents.create_template(name, project_of(options).root, extends=extends)
    if not options["as_json"]:
        click.echo(folder)
    return {"folder": str(folder)}


@template.command("delete", cls=JsonCommand)
@click.argument("name")
@in_project
def template_delete(name: str, **options: Any) -> dict[str, Any]:
    """Remove a template of the project.

    \b
    Example:
      seatrial agent template delete reviewer
    """
    from seatrial import agents

    agents.delete_template(name, project_of(options).root)
    return {"deleted": name}


@click.group()
def harness() -> None:
    """Harnesses: the coding agents that can be run, each described by one TOML file."""


@harness.command("list", cls=JsonCommand)
@in_project
def harness_list(**options: Any) -> dict[str, Any]:
    """List the harnesses, and whether their programs are installed.

    \b
    Example:
      seatrial agent harness list
    """
    from seatrial import agents

    found = [{**harness.as_dict(), "installed": agents.installed(harness)} for harness in
             agents.all_harnesses(project_of(options).root)]  # fmt: skip
    if not options["as_json"]:
        rows = [(h["name"], h["provider"] or "-", h["installed"] or "not installed", h["about"]) for h in found]
        table(("name", "provider", "program", "about"), rows)
    return {"harnesses": found}


@harness.command("show", cls=JsonCommand)
@click.argument("name")
@in_project
def harness_show(name: str, **options: Any) -> dict[str, Any]:
    """Show one definition.

    \b
    Example:
      seatrial agent harness show claude-code
    """
    from seatrial import agents

    facts = agents.find_harness(name, project_of(options).root).as_dict()
    if not options["as_json"]:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    return {"harness": facts}


@harness.command("check", cls=JsonCommand)
@click.argument("file", type=click.Path(path_type=Path))
def harness_check(file: Path, **options: Any) -> dict[str, Any]:
    """Check a definition that you are writing.

    \b
    Example:
      seatrial agent harness check .seatrial/harnesses/my-agent.toml
    """
    from seatrial import agents

    found = agents.read_harness(file)
    if not options["as_json"]:
        click.echo(f"{found.name} is well written")
    return {"harness": found.as_dict()}


@click.group()
def image() -> None:
    """Root file systems unpacked from OCI images, for `files.root` of a policy (`start --image`)."""


@image.command("import", cls=JsonCommand)
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("name")
def image_import(archive: Path, name: str, **options: Any) -> dict[str, Any]:
    """Unpack ARCHIVE (of `podman save` or `docker save`) once, as image NAME.

    \b
    Example:
      podman save --format oci-archive -o node.tar node:22 && seatrial agent image import node.tar node
    """
    from seatrial import agents

    with progress.working(f"unpacking {archive}", quiet=options["as_json"]):
        folder = agents.import_image(archive, name)
    if not options["as_json"]:
        click.echo(folder)
    return {"name": name, "folder": str(folder)}


@image.command("list", cls=JsonCommand)
def image_list(**options: Any) -> dict[str, Any]:
    """List the images that were unpacked.

    \b
    Example:
      seatrial agent image list
    """
    from seatrial import agents

    names = agents.list_images()
    if not options["as_json"]:
        click.echo("\n".join(names))
    return {"images": names}


@image.command("remove", cls=JsonCommand)
@click.argument("name")
def image_remove(name: str, **options: Any) -> dict[str, Any]:
    """Remove an image; agents that are made of it cannot be started any more.

    \b
    Example:
      seatrial agent image remove node
    """
    from seatrial import agents

    agents.remove_image(name)
    return {"removed": name}


@click.group()
def keys() -> None:
    """Keys of model APIs.  The gateway holds them; they never enter a sandbox."""


@keys.command("set", cls=JsonCommand)
@click.argument("provider")
def keys_set(provider: str, **options: Any) -> dict[str, Any]:
    """Keep the key of PROVIDER, read from standard input or typed unseen; in the keyring, else in a file of mode 0600.

    \b
    Example:
      seatrial agent keys set anthropic < key.txt
    """
    from seatrial import agents

    text = getpass.getpass(f"Key for {provider}: ") if sys.stdin.isatty() else sys.stdin.readline()
    where = agents.set_key(provider, Secret(text.strip()))
    if not options["as_json"]:
        click.echo(f"The key of {provider} is kept in {where}.")
    return {"provider": provider, "where": where}


@keys.command("list", cls=JsonCommand)
def keys_list(**options: Any) -> dict[str, Any]:
    """List which keys there are, by their last four characters.

    \b
    Example:
      seatrial agent keys list
    """
    from seatrial import agents

    found = agents.list_keys()
    if not options["as_json"]:
        table(("provider", "where", "key"), found)
    return {"keys": [dict(zip(("provider", "where", "key"), entry, strict=True)) for entry in found]}


@keys.command("remove", cls=JsonCommand)
@click.argument("provider")
def keys_remove(provider: str, **options: Any) -> dict[str, Any]:
    """Forget the key of PROVIDER.

    \b
    Example:
      seatrial agent keys remove anthropic
    """
    from seatrial import agents

    if not agents.remove_key(provider):
        raise AgentError(f"There is no key for {provider}.", hint="seatrial agent keys list")
    return {"removed": provider}


@click.command(cls=JsonCommand)
@click.argument("name")
@click.option("--tokens", type=int, help="Most tokens; 0 is no limit.")
@click.option("--usd", type=float, help="Most money.")
@click.option("--requests", type=int, help="Most calls.")
@in_project
def budget(name: str, **options: Any) -> dict[str, Any]:
    """Show what agent NAME and its children may spend and have spent, or change it; the next call is held to it.

    \b
    Examples:
      seatrial agent budget ada
      seatrial agent budget ada --usd 10
    """
    from seatrial import agents

    project = project_of(options)
    if wanted := budget_of(options):
        agents.set_budget(project, name, wanted)
    family = project.records.family(name)
    limits, used = project.records.agent(family[0]).spec["budget"], project.records.spent(*family)
    if not options["as_json"]:
        spent = {"tokens": used.tokens, "usd": used.usd, "requests": used.requests}
        rows = [(key, spent[key], limits.get(key) or "no limit") for key in spent]
        table(("what", "used", "limit"), rows)
    return {"budget": limits, "used": {**asdict(used), "tokens": used.tokens}, "family": family}


@click.group()
def policy() -> None:
    """What agents may touch."""


@policy.command("show", cls=JsonCommand)
@click.argument("name")
@choosing
def policy_show(name: str, **options: Any) -> dict[str, Any]:
    """Show the policy of agent NAME, or the one that it would get with these options.

    \b
    Examples:
      seatrial agent policy show ada
      seatrial agent policy show new --template reviewer --allow preset:pypi
    """
    from seatrial import agents

    project = project_of(options)
    known = [record for record in project.records.agents() if record.name == name]
    rules = known[0].spec["policy"] if known else agents.resolve_spec(project, name, choices_of((), options)).policy
    if not options["as_json"]:
        click.echo(json.dumps(rules, indent=2, ensure_ascii=False))
    return {"policy": rules}


@click.command(cls=JsonCommand)
def doctor(**options: Any) -> dict[str, Any]:
    """Check whether agents can run here: programs, runtimes, harnesses.

    \b
    Example:
      seatrial agent doctor
    """
    from seatrial import agents

    found = agents.doctor()
    if not options["as_json"]:
        for finding in found:
            mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
            click.echo(f"{mark} {finding.name:<12} {finding.finding}")
            if finding.hint:
                click.echo(f"     {'':<12} {finding.hint}")
    failed = [finding.name for finding in found if not finding.ok]
    if failed:
        raise AgentError(f"Agents cannot run here: {', '.join(failed)}.", findings=[asdict(f) for f in found])
    return {"findings": [asdict(finding) for finding in found]}
