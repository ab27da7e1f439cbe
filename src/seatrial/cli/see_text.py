"""What the commands of `seatrial see` print for people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from seatrial.vision import Engine, ModelSummary, Processor, Prompt, Reply


def print_timings(engine: Engine, reply: Reply) -> None:
    """Print where the time went, on stderr."""
    times, model = reply.timings, engine.model
    rate = f"{times.decode_tokens_per_second:.1f} tokens/s" if times.decode else "no further tokens"
    click.echo(
        f"load {model.load_seconds:.2f} s · vision {times.vision:.2f} s ({reply.tiles} tiles,"
        f" {reply.cached_tiles} known) · prefill"
        f" {times.prefill:.2f} s ({reply.prompt_tokens} tokens) · first token {times.first_token:.2f} s ·"
        f" {len(reply.tokens)} tokens, {rate} · {model.precision} on {model.ops.instruction_set}",
        err=True,
    )


def print_prompt(prompt: Prompt, processor: Processor) -> None:
    """Print the prompt with runs of picture tokens counted, then the tiles."""
    click.echo(re.sub(r"(?:<image>)+", lambda run: f"<image>×{len(run.group()) // len('<image>')}", prompt.text))
    tile = processor.config.picture.tile
    for number, medium in enumerate(prompt.media, start=1):
        width, height = medium.size
        grid = "one tile" if medium.rows == 0 else f"{medium.rows} × {medium.cols} tiles and the whole"
        grid = f"{medium.rows} frames" if medium.kind == "clip" else grid
        click.echo(
            f"{number}: {medium.kind}, {width} × {height} pixels, {grid} ({tile} × {tile} pixels each)", err=True
        )
    context = processor.config.text.max_positions
    click.echo(f"{len(prompt.ids):,} of {context:,} tokens, {len(prompt.tiles)} tiles", err=True)


def print_info(summary: ModelSummary) -> None:
    """Print a model's shapes, parameters, bytes and memory."""
    config = summary.config
    vision, text, picture = config["vision"], config["text"], config["picture"]
    rows = [
        ("model", f"{config['model_type']} in {summary.folder}"),
        ("vision", f"{vision['hidden_size']} wide × {vision['layers']} layers, {vision['heads']} heads, MLP"
                   f" {vision['intermediate_size']}, tile {vision['image_size']}, patch {vision['patch_size']}"),
        ("connector", f"scale {config['scale_factor']}: {config['tokens_per_tile']} tokens a tile"),
        ("text", f"{text['hidden_size']} wide × {text['layers']} layers, {text['heads']} heads"
                 f" ({text['kv_heads']} key/value), MLP {text['intermediate_size']}, vocabulary"
                 f" {text['vocab_size']:,}, context {text['max_positions']:,}, theta {text['rope_theta']:g}"),
        ("pictures", f"longest edge {picture['longest_edge']}; clips {picture['video_fps']:g} frames/s, at most"
                     f" {picture['video_max_frames']}"),
        ("parameters", ", ".join(f"{part} {count:,}" for part, count in summary.parameters.items())),
        ("on disk", f"{summary.bytes_on_disk / 1e6:,.1f} MB, {summary.tensors} tensors"),
        ("memory", ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in summary.memory.items())),
    ]  # fmt: skip
    for name, value in rows:
        click.echo(f"{name:<11} {value}")


def write_sheet(prompt: Prompt, file: Path) -> None:
    """Write the tiles of a prompt as a picture; the suffix of `file` chooses the format."""
    from seatrial import vision

    picture = vision.contact_sheet(prompt)
    if picture is None:
        raise click.UsageError("There are no pictures to show.")
    try:
        picture.save(file)
    except (OSError, ValueError) as problem:
        raise click.UsageError(f"{file} cannot be written: {problem}") from problem
    click.echo(f"tiles: {file}", err=True)
