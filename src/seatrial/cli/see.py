"""`seatrial see`: ask, info, prompt, pull, convert."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from seatrial import settings
from seatrial.cli import progress
from seatrial.cli.groups import JsonCommand
from seatrial.cli.see_options import (
    decoding_of,
    decoding_options,
    features_of,
    mmproj_option,
    model_options,
    packed_of,
    reading_of,
    reading_options,
    split_question,
)
from seatrial.cli.see_text import print_info, print_prompt, print_timings, write_sheet


@click.group()
def see() -> None:
    """Ask questions about pictures, documents and video, on this machine's CPU."""


@see.command(cls=JsonCommand)
@click.argument("files_and_question", nargs=-1, required=True, metavar="[FILE]... QUESTION")
@model_options
@click.option(
    "--precision", type=click.Choice(["auto", "f32", "bf16", "int8", "int4"]), help="Default: [see] precision."
)
@decoding_options
@reading_options
@click.option("--memory", metavar="SIZE", help="What the process may use, as 700MB; the rest is chosen to fit.")
@click.option("--kv", type=click.Choice(["same", "int8"]), default="same", help="Keep keys and values in 8 bits.")
@click.option("--draft", metavar="NAME|DIR", help="A smaller model of the family that guesses tokens ahead.")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep features of tiles.")
@click.option("--timings", is_flag=True, help="Print where the time went (on stderr).")
def ask(
    files_and_question: tuple[str, ...],
    model: str | None,
    mmproj: Path | None,
    precision: str | None,
    memory: str | None,
    draft: str | None,
    **options: Any,
) -> dict[str, Any]:
    """Ask QUESTION about FILEs: pictures, PDF documents, video clips, in the order given; - is standard input.

    \b
    Examples:
      seatrial see ask receipt.jpg "What is the total?"
      seatrial see ask invoice.pdf --pages 1-2 "Who is the customer?" --json
      seatrial see ask clip.mp4 "What happens?" --max-new-tokens 60
    """
    from seatrial import vision

    files, question = split_question(files_and_question)
    chosen = settings.load().see
    reading, decoding = reading_of(chosen, options), decoding_of(chosen, options)
    processor = vision.Processor(vision.find_model(model or chosen.model), reading, mmproj=mmproj)
    prompt = processor.question(files, question, system=options["system"])  # bad files are told before the wait
    with progress.working("loading the model", quiet=options["as_json"]):
        engine = vision.Engine.load(
            processor,
            precision or chosen.precision,
            features_of(chosen, options),
            packed=packed_of(chosen),
            memory=vision.parse_bytes(memory) if memory else None,
            positions=len(prompt.ids) + decoding.max_new_tokens,
            kv=options["kv"],
        )
    draft_prompt = None
    if draft:
        small = vision.Processor(vision.find_model(draft), reading)
        with progress.working("loading the draft model", quiet=options["as_json"]):
            helper = vision.Engine.load(small, "auto", features_of(chosen, options), packed=packed_of(chosen))
        engine = vision.Engine(engine.model, draft=helper)
        draft_prompt = small.question(files, question, system=options["system"])
    if engine.model.plan and not options["as_json"]:
        click.echo(f"memory: {engine.model.plan}", err=True)
    if reading.detail == "auto":
        finer = processor.question(files, question, system=options["system"], detail="high")
        with progress.working("looking at the pictures", quiet=options["as_json"]):
            reply = engine.answer_by_need(prompt, finer, decoding)
        if not options["as_json"]:
            click.echo(reply.text)
    else:
        reply = progress.show_answer(engine, prompt, decoding, draft_prompt, quiet=options["as_json"])
    if options["timings"]:
        print_timings(engine, reply)
    return {
        **reply.as_dict(),
        "model": str(engine.model.processor.files.path),
        "precision": engine.model.precision,
    }


@see.command(cls=JsonCommand)
@click.argument("model", default="pico")
@mmproj_option
def info(model: str, mmproj: Path | None, **options: Any) -> dict[str, Any]:
    """Show what MODEL is made of: shapes, parameters, bytes, and the memory each precision needs.

    \b
    Examples:
      seatrial see info pico
      seatrial see info ./SmolVLM2-2.2B-Instruct --json
    """
    from seatrial import vision

    summary = vision.summarise(vision.find_model(model), mmproj=mmproj)
    if not options["as_json"]:
        print_info(summary)
    return summary.as_dict()


@see.command(cls=JsonCommand)
@click.argument("files_and_question", nargs=-1, required=True, metavar="[FILE]... QUESTION")
@model_options
@reading_options
@click.option("--sheet", type=click.Path(path_type=Path), help="Write a picture of all tiles to this file.")
def prompt(
    files_and_question: tuple[str, ...], model: str | None, mmproj: Path | None, sheet: Path | None, **options: Any
) -> dict[str, Any]:
    """Show the expanded prompt and the tiles of each picture, without running the model.

    \b
    Examples:
      seatrial see prompt receipt.jpg "What is the total?" --sheet tiles.png
      seatrial see prompt --model ./SmolVLM2-256M-Video-Instruct a.png b.png "What differs?" --json
    """
    from seatrial import vision

    files, question = split_question(files_and_question)
    chosen = settings.load().see
    processor = vision.Processor(vision.find_model(model or chosen.model), reading_of(chosen, options), mmproj=mmproj)
    expanded = processor.question(files, question, system=options["system"])
    if sheet:
        write_sheet(expanded, sheet)
    if not options["as_json"]:
        print_prompt(expanded, processor)
    return {
        "text": expanded.text,
        "ids": expanded.ids,
        "prompt_tokens": len(expanded.ids),
        "grids": expanded.grids,
        "media": [asdict(medium) for medium in expanded.media],
        "tiles": len(expanded.tiles),
        "tile": processor.config.picture.tile,
    }


@see.command(cls=JsonCommand)
@click.argument("hub_id")
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit on the hub.")
@click.option("--gguf", metavar="PATTERN", help="Fetch the GGUF files that match, text and mmproj, and no others.")
def pull(hub_id: str, revision: str, gguf: str | None, **options: Any) -> dict[str, Any]:
    """Fetch the model HUB_ID (owner/name) from the Hugging Face hub; interrupted pulls go on.

    This is the only command of `see` that uses the network.

    \b
    Examples:
      seatrial see pull HuggingFaceTB/SmolVLM2-256M-Video-Instruct
      seatrial see pull HuggingFaceTB/SmolVLM2-2.2B-Instruct --revision main
      seatrial see pull ggml-org/SmolVLM2-256M-Video-Instruct-GGUF --gguf "*Q8_0*"
    """
    from seatrial import vision

    quiet = options["as_json"]
    report = (lambda _line: None) if quiet else (lambda line: click.echo(line, err=True))
    folder: Path = vision.pull(hub_id, revision=revision, gguf=gguf, report=report, bars=not quiet)
    if not options["as_json"]:
        click.echo(f"{folder}")
    return {"model": hub_id, "folder": str(folder)}


@see.command(cls=JsonCommand)
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--type",
    "number_type",
    metavar="TYPE",
    default="auto",
    show_default=True,
    help="auto, f32, f16, bf16; to GGUF also q8_0, q4_0, q4_1, q5_0, q5_1.",
)
@mmproj_option
def convert(source: str, target: Path, number_type: str, mmproj: Path | None, **options: Any) -> dict[str, Any]:
    """Write a safetensors model SOURCE as a pair of GGUF files into the folder TARGET, or a pair as safetensors.

    `auto` keeps every number as it is.

    \b
    Examples:
      seatrial see convert ./SmolVLM2-256M-Video-Instruct ./gguf --type q8_0
      seatrial see convert ./SmolVLM2-256M-Video-Instruct-Q8_0.gguf ./safetensors --type bf16
    """
    from seatrial import vision

    with progress.counting("tensors", quiet=options["as_json"]) as report:
        done = vision.convert(vision.find_model(source), target, number_type, mmproj=mmproj, progress=report)
    if not options["as_json"]:
        click.echo(f"{done.tensors} tensors, {done.type}, {done.bytes / 1e6:,.1f} MB in {done.target}")
    return done.as_dict()


@see.group()
def cache() -> None:
    """What is kept: features of tiles that were seen, and weights that were packed."""


@cache.command("list", cls=JsonCommand)
def list_(**options: Any) -> dict[str, Any]:
    """Say how many tiles and packed models are kept and what they take.

    \b
    Example:
      seatrial see cache list
    """
    chosen = settings.load().see
    use = {"tiles": features_of(chosen, options).use(), "packed": packed_of(chosen).use()}
    if not options["as_json"]:
        for what, part in use.items():
            click.echo(f"{what:<7} {part.files:>6,} files {part.bytes / 1e6:>10,.1f} MB in {part.folder}")
    return {what: asdict(part) for what, part in use.items()}


@cache.command(cls=JsonCommand)
@click.option("--keep", type=click.IntRange(min=0), default=0, show_default=True, help="Bytes to keep of each kind.")
@click.option("--only", type=click.Choice(["tiles", "packed"]), help="Leave the other kind alone.")
def prune(keep: int, only: str | None, **options: Any) -> dict[str, Any]:
    """Remove kept tiles and packed models, the least recently used first.

    \b
    Examples:
      seatrial see cache prune
      seatrial see cache prune --only packed
      seatrial see cache prune --keep 100000000 --json
    """
    chosen = settings.load().see
    removed = {}
    if only != "packed":
        removed["tiles"] = features_of(chosen, options).prune(keep)
    if only != "tiles":
        removed["packed"] = packed_of(chosen).prune(keep)
    if not options["as_json"]:
        for what, part in removed.items():
            click.echo(f"removed {part.files:,} files of {what}, {part.bytes / 1e6:,.1f} MB")
    return {what: asdict(part) for what, part in removed.items()}
