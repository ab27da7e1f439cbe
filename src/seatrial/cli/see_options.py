"""Options that the commands of `seatrial see` share, and what they mean together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatrial.settings import SeeSettings

if TYPE_CHECKING:
    from seatrial.vision import Decoding, FeatureCache, PackedCache, Reading

Command = TypeVar("Command", bound=Callable[..., Any])

mmproj_option = click.option(
    "--mmproj",
    type=click.Path(path_type=Path),
    help="Picture tower of a GGUF model, when it does not lie beside the text file.",
)


def _all(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


model_options = _all(
    click.option(
        "--model",
        metavar="NAME|DIR|FILE",
        help="`pico`, a folder, a GGUF file, or a pulled hub id (default: [see] model).",
    ),
    mmproj_option,
)

decoding_options = _all(
    click.option("--max-new-tokens", type=click.IntRange(min=1), help="Most tokens in the answer."),
    click.option("--temperature", type=float, default=0.0, help="0 takes the likeliest token (default)."),
    click.option("--top-k", type=int, default=0, help="Sample among the K likeliest tokens."),
    click.option("--top-p", type=float, default=1.0, help="Sample among tokens holding this share of probability."),
    click.option("--min-p", type=float, default=0.0, help="Leave out tokens below this share of the likeliest."),
    click.option("--repetition-penalty", type=float, default=1.0, help="Above 1 discourages repeating."),
    click.option("--seed", type=int, help="Make sampling repeatable."),
    click.option("--stop", multiple=True, metavar="TEXT", help="End the answer before TEXT; may be repeated."),
    click.option("--no-speculation", is_flag=True, help="Do not guess tokens ahead; the answer is the same."),
    click.option("--logprobs", is_flag=True, help="With --json: log probability of each token."),
)

reading_options = _all(
    click.option("--system", metavar="TEXT", help="A system turn before the question."),
    click.option("--pages", metavar="1-3,7", help="Pages of a PDF (default: all, up to [see] max_pages)."),
    click.option("--dpi", type=click.IntRange(10, 1200), help="Resolution at which PDF pages are rendered."),
    click.option("--max-pixels", type=click.IntRange(min=1), help="Largest picture that is decoded."),
    click.option(
        "--detail",
        metavar="low|auto|high|N",
        help="Tiles of a picture: high as the reference, low one, N at most, auto as needed (default: [see] detail).",
    ),
    click.option("--gif-as-video", is_flag=True, help="Play a GIF as a clip instead of its first picture."),
)


def split_question(words: tuple[str, ...]) -> tuple[list[str | bytes], str]:
    """Return (files, question); the question is the last argument, a file called `-` is standard input."""
    *files, question = words
    if question == "-" or Path(question).is_file():
        raise click.UsageError(f"The question is missing: the last argument, {question}, is a file.")
    if files.count("-") > 1:
        raise click.UsageError("Standard input (-) can be given once.")
    return [sys.stdin.buffer.read() if file == "-" else file for file in files], question


def reading_of(chosen: SeeSettings, options: dict[str, Any]) -> Reading:
    """Return how files are read: options over settings."""
    from seatrial.vision import Reading, parse_detail

    return Reading(
        detail=parse_detail(options["detail"] or chosen.detail),
        max_pixels=options["max_pixels"] or chosen.max_pixels,
        max_pages=chosen.max_pages,
        dpi=options["dpi"] or chosen.pdf_dpi,
        pages=options["pages"],
        gif_as_video=options["gif_as_video"],
    )


def features_of(chosen: SeeSettings, options: dict[str, Any]) -> FeatureCache:
    """Return where features of tiles are kept."""
    from seatrial.vision import FeatureCache

    if options.get("no_cache"):
        return FeatureCache(memory_limit=0, disk_limit=0)
    return FeatureCache(memory_limit=chosen.feature_memory, disk_limit=chosen.feature_disk)


def packed_of(chosen: SeeSettings) -> PackedCache:
    """Return where packed weights are kept."""
    from seatrial.vision import PackedCache

    return PackedCache(disk_limit=chosen.packed_disk, note=lambda line: click.echo(f"note: {line}", err=True))


def decoding_of(chosen: SeeSettings, options: dict[str, Any]) -> Decoding:
    """Return how the answer is made: options over settings."""
    from seatrial.vision import Decoding

    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "stop", "logprobs")
    values = {name: options[name] for name in names}
    values["speculate"] = not options["no_speculation"]
    return Decoding(max_new_tokens=options["max_new_tokens"] or chosen.max_new_tokens, **values)
