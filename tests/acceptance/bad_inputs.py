"""Bad inputs and what is said about each; `python -m tests.acceptance.bad_inputs` prints the table."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from seatrial.vision.conversion import convert
from tests.golden.cases import picture
from tests.golden.checkpoints import SHAPES, make_checkpoint
from tests.unit.vision.test_documents import blank_pdf, pdf
from tests.unit.vision.test_pictures import saved
from tests.unit.vision.test_video import encoded, sound_only
from tests.unit.vision.test_weights import header_of, rewrite

Make = Callable[[Path], Path]
Damage = Callable[[Path], None]


def written(name: str, content: Callable[[], bytes]) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content())
        return folder / name

    return make


def encrypted_pdf() -> bytes:
    security = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O (" + b"a" * 32 + b") /U (" + b"b" * 32 + b") >>"
    return blank_pdf(1).replace(b"/Root 1 0 R", b"/Root 1 0 R " + security + b" /ID [(1234567890123456) (12345678)]")


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


BAD_FILES: dict[str, tuple[Make, str, list[str]]] = {
    "missing file": (lambda folder: folder / "missing.png", "No such file or directory", []),
    "folder": (lambda folder: folder, "is a folder, not a file", []),
    "empty file": (written("empty.png", lambda: b""), "is empty (0 bytes)", []),
    "truncated JPEG": (written("a.jpg", lambda: half(saved(picture(90, 90), "JPEG"))), "is damaged", []),
    "truncated PNG": (written("a.png", lambda: half(saved(picture(90, 90), "PNG"))), "is damaged", []),
    "truncated TIFF": (written("a.tif", lambda: half(saved(picture(90, 90), "TIFF"))), "a.tif", []),
    "truncated PDF": (written("a.pdf", lambda: pdf()[:100]), "is not a readable PDF", []),
    "truncated MP4": (written("a.mp4", lambda: encoded(30)[:300]), "a.mp4", []),
    "text named .png": (written("a.png", lambda: b"hello, I am text\n"), "is not a picture in a known format", []),
    "decompression bomb": (
        written("bomb.png", lambda: saved(Image.new("1", (30_000, 30_000)), "PNG")),
        "above the limit of 178,956,970",
        [],
    ),
    "above a chosen limit": (
        written("a.png", lambda: saved(picture(90, 90), "PNG")), "above the limit of 8,000", ["--max-pixels", "8000"]
    ),
    "encrypted PDF": (written("a.pdf", encrypted_pdf), "is encrypted", []),
    "PDF of 3,000 pages": (written("a.pdf", lambda: blank_pdf(3000)), "has 3000 pages, more than 20", []),
    "page out of range": (written("a.pdf", pdf), "page 9 does not exist", ["--pages", "9"]),
    "malformed page range": (written("a.pdf", pdf), "is not a page range", ["--pages", "x"]),
    "video without video stream": (written("a.mp4", sound_only), "has no video stream", []),
    "too many pages for the context": (
        written("a.pdf", lambda: blank_pdf(200)), "the model's context holds 8,192", ["--pages", "1-"]
    ),
}  # fmt: skip


def change_json(name: str, **changes: object) -> Damage:
    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return damage


def change_tensor(name: str, **changes: object) -> Damage:
    def damage(folder: Path) -> None:
        header, data = header_of(folder / "model.safetensors")
        rewrite(folder / "model.safetensors", {**header, name: {**header[name], **changes}}, data)

    return damage


def drop_tensor(folder: Path) -> None:
    header, data = header_of(folder / "model.safetensors")
    del header["lm_head.weight"]
    rewrite(folder / "model.safetensors", header, data)


def poison(folder: Path) -> None:
    header, data = header_of(folder / "model.safetensors")
    start = header["model.text_model.norm.weight"]["data_offsets"][0]
    nan = np.float32(np.nan).tobytes()
    rewrite(folder / "model.safetensors", header, data[:start] + nan + data[start + 4 :])


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(half(file.read_bytes()))


def cut_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((10**12).to_bytes(8, "little") + b"{}")


def as_gguf(damage: Callable[[Path, Path], None]) -> Damage:
    """Turn the folder into a pair of GGUF files and call `damage` with the text file and the mmproj."""

    def turn(folder: Path) -> None:
        made = folder.with_name("made")
        convert(folder, made)
        shutil.rmtree(folder)
        made.rename(folder)
        text = next(file for file in folder.iterdir() if not file.name.startswith("mmproj"))
        damage(text, folder / f"mmproj-{text.name}")

    return turn


def change_bytes(file: Path, old: bytes, new: bytes) -> None:
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


def another_width(_text: Path, mmproj: Path) -> None:
    key = b"clip.vision.projection_dim" + struct.pack("<I", 4)
    change_bytes(mmproj, key + struct.pack("<I", 72), key + struct.pack("<I", 960))


def another_type(text: Path, _mmproj: Path) -> None:
    start = b"output.weight" + struct.pack("<IQQ", 2, 72, 400)
    change_bytes(text, start + struct.pack("<I", 0), start + struct.pack("<I", 19))


BAD_MODELS: dict[str, tuple[Damage, str]] = {
    "weights with a wrong shape": (
        change_tensor("model.text_model.norm.weight", shape=[36, 2]),
        "norm.weight has shape [36, 2], expected [72]",
    ),
    "missing tensor": (drop_tensor, "tensor lm_head.weight is missing"),
    "truncated safetensors": (truncate, "is truncated"),
    "lying header length": (cut_header, "is truncated or not a safetensors file"),
    "lying offsets": (change_tensor("lm_head.weight", data_offsets=[0, 7]), "its shape"),
    "NaN weights": (poison, "tensor model.text_model.norm.weight holds NaN or infinity"),
    "unknown model_type": (change_json("config.json", model_type="llava"), "model_type 'llava' is not supported"),
    "tokenizer without <image>": (change_json("tokenizer.json", added_tokens=[]), "gives <image> the id None"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "holds no *.safetensors file"),
    "GGUF without its mmproj": (as_gguf(lambda _, mmproj: mmproj.unlink()), "holds no GGUF file with a picture tower"),
    "GGUF truncated": (as_gguf(lambda text, _: text.write_bytes(half(text.read_bytes()))), "is truncated"),
    "GGUF of another kind": (as_gguf(lambda text, _: change_bytes(text, b"GGUF", b"GGML")), "is not a GGUF file"),
    "GGUF with an unknown type": (as_gguf(another_type), "has type IQ1_S, which is not supported"),
    "GGUF pair that does not match": (as_gguf(another_width), "takes picture tokens of width 72"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
}


def main() -> None:
    """Print what the command says about every bad input, as a Markdown table."""
    from click.testing import CliRunner

    from seatrial.cli import seatrial

    shape = next(shape for shape in SHAPES if shape.name == "odd")
    print("| input | exit code | message |\n|---|---|---|")
    cases = [(name, make, None, options) for name, (make, _, options) in BAD_FILES.items()]
    cases += [(name, written("a.png", lambda: saved(picture(9, 9), "PNG")), damage, [])
              for name, (damage, _) in BAD_MODELS.items()]  # fmt: skip
    for name, make, damage, options in cases:
        with tempfile.TemporaryDirectory() as given:
            folder = Path(given)
            model = make_checkpoint(shape, folder / "model")
            if damage:
                damage(model)
            arguments = ["see", "ask", str(make(folder)), "What?", "--model", str(model), *options]
            problem = CliRunner().invoke(seatrial, arguments).exception
            message = getattr(problem, "message", repr(problem)).replace(str(folder), "…")
            print(f"| {name} | {getattr(problem, 'exit_code', '?')} | {message} |")


if __name__ == "__main__":
    main()
