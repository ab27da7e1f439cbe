"""Runs a case through transformers; needs `pip install 'seatrial[reference]'`.

`python -m tests.golden.reference` writes the golden values that the tests compare with.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.cases import Case, Frames, all_cases
from tests.golden.checkpoints import SHAPES, make_checkpoint

NEW_TOKENS = 10
HERE = Path(__file__).parent
Golden = dict[str, Any]


class Reference:
    """A checkpoint in transformers: PIL picture processor, float32."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast
        from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
        from transformers.models.smolvlm.processing_smolvlm import SmolVLMProcessor

        torch.set_num_threads(2)
        self.torch = torch
        self.model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        self.sampling = settings.pop("video_sampling")
        self.pictures = SmolVLMImageProcessorPil(**settings)
        # The processor object without its torchvision video part: only its text methods are used.
        self.processor = SmolVLMProcessor.__new__(SmolVLMProcessor)
        self.processor.fake_image_token = "<fake_token_around_image>"
        self.processor.image_token = "<image>"
        self.processor.global_image_token = "<global-img>"
        self.processor.image_seq_len = json.loads((folder / "processor_config.json").read_text())["image_seq_len"]
        self.eos = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]

    def inputs(self, case: Case) -> tuple[str, list[int], np.ndarray, list[tuple[int, int]]]:
        """Return the expanded text, ids, pixel values [n, 3, tile, tile] and grids of a case."""
        from transformers.models.smolvlm import processing_smolvlm

        from tests.golden.checkpoints import TEMPLATE

        conversation, pixels, expansions, grids = [], [], [], []
        has_clip = False
        for role, parts in case.turns():
            content = []
            for part in parts:
                if isinstance(part, str):
                    content.append({"type": "text", "text": part})
                    continue
                content.append({"type": "video" if isinstance(part, Frames) else "image"})
                has_clip |= isinstance(part, Frames)
                values, expansion, grid = self._clip(part) if isinstance(part, Frames) else self._picture(part)
                pixels.append(values)
                expansions.append(expansion)
                grids.append(grid)
            conversation.append({"role": role, "content": content})
        template = processing_smolvlm.DEFAULT_CHAT_TEMPLATE if has_clip else TEMPLATE
        text = self.tokenizer.apply_chat_template(
            conversation, chat_template=template, tokenize=False, add_generation_prompt=True
        )
        for expansion in expansions:
            text = text.replace(
                "<video>" if "Frame from" in expansion else "<image>", expansion.replace("<", "\ue002"), 1
            )
        text = text.replace("\ue002", "<")
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        joined = np.concatenate(pixels) if pixels else np.empty((0, 3, 1, 1), np.float32)
        return text, ids, joined, grids

    def _picture(self, image: Any) -> tuple[np.ndarray, str, tuple[int, int]]:
        from transformers.image_utils import load_image

        # As for a picture named by its path: upright, then Pillow's own conversion to RGB.
        encoded = self.pictures(load_image(image), return_row_col_info=True, return_tensors="np")
        grid = (int(encoded["rows"][0][0]), int(encoded["cols"][0][0]))
        text = self.processor.replace_image_token({"rows": [[grid[0]]], "cols": [[grid[1]]]}, 0)
        return encoded["pixel_values"][0].astype(np.float32), text, grid

    def _clip(self, clip: Frames) -> tuple[np.ndarray, str, tuple[int, int]]:
        metadata = _Metadata(len(clip.images), clip.fps)
        indices = sample_frames(metadata, self.sampling["max_frames"], self.sampling["fps"])
        metadata.frames_indices = indices
        frames = [
            self.pictures(
                clip.images[i],
                do_image_splitting=False,
                size=self.sampling["video_size"],
                return_tensors="np",
            )
            for i in indices
        ]
        pixels = np.concatenate([frame["pixel_values"][0] for frame in frames]).astype(np.float32)
        shown = {"pixel_values": pixels[None], "video_metadata": [metadata]}
        return pixels, self.processor.replace_video_token(shown, 0), (len(indices), 1)

    def run(self, case: Case) -> Golden:
        """Return ids, hashes, seams, logits and greedy tokens of a case."""
        torch = self.torch
        text, ids, pixels, grids = self.inputs(case)
        seams: dict[str, np.ndarray] = {}
        hooks = self._watch(seams)
        kwargs = {"input_ids": torch.tensor([ids])}
        if len(pixels):
            kwargs["pixel_values"] = torch.tensor(pixels)[None]
        with torch.no_grad():
            logits = self.model(**kwargs).logits[0, -1].numpy()
            for hook in hooks:
                hook.remove()
            made = self.model.generate(
                **kwargs, attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                max_new_tokens=NEW_TOKENS, eos_token_id=self.eos, pad_token_id=0,
            )[0, len(ids) :].tolist()  # fmt: skip
        return {
            "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "ids": ids,
            "grids": grids,
            "pixels_sha256": hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
            "tokens": made,
            "logits": logits,
            "seams": seams,
        }

    def _watch(self, seams: dict[str, np.ndarray]) -> list[Any]:
        """Hook every seam; each is kept as its `probe`."""
        core = self.model.model
        modules = {
            "vision.embeddings": core.vision_model.embeddings,
            "vision.post_layernorm": core.vision_model.post_layernorm,
        }
        modules |= {f"vision.layers.{i}": layer for i, layer in enumerate(core.vision_model.encoder.layers)}
        modules |= {f"text.layers.{i}": layer for i, layer in enumerate(core.text_model.layers)}

        def keep(name: str) -> Any:
            def hook(_module: Any, _inputs: Any, output: Any) -> None:
                value = output[0] if isinstance(output, tuple) else output
                seams[name] = probe(value[0].numpy(), value[-1].numpy())

            return hook

        return [module.register_forward_hook(keep(name)) for name, module in modules.items()]


class _Metadata:
    """What the reference's text methods read of a clip."""

    def __init__(self, frames: int, fps: float) -> None:
        self.total_num_frames, self.fps = frames, fps
        self.duration = frames / fps
        self.frames_indices: list[int] = []

    @property
    def timestamps(self) -> list[float]:
        return [index / self.fps for index in self.frames_indices]

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)


def sample_frames(metadata: _Metadata, num_frames: int, fps: float) -> list[int]:
    """Call the reference's sampling without building its torchvision processor."""
    from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

    return [int(i) for i in SmolVLMVideoProcessor.sample_frames(None, metadata, num_frames=num_frames, fps=fps)]


def probe(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return 24 numbers that stand for a seam: channels of the first, middle and last row, first and last tile."""
    rows = [first[0, :8], first[len(first) // 2, :8], last[-1, -8:]]
    return np.concatenate(rows).astype(np.float32)


def main() -> None:
    """Write golden.json (small facts) and golden.npz (numbers) beside this file."""
    import transformers

    facts: dict[str, Any] = {"transformers": transformers.__version__, "new_tokens": NEW_TOKENS, "cases": {}}
    arrays: dict[str, np.ndarray] = {}
    cases = all_cases()
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            reference = Reference(make_checkpoint(shape, Path(folder)))
        for case in cases:
            if case.checkpoint != shape.name:
                continue
            golden = reference.run(case)
            arrays[f"{case.name}/logits"] = golden.pop("logits")
            arrays[f"{case.name}/ids"] = np.asarray(golden.pop("ids"), np.int32)
            for name, value in golden.pop("seams").items():
                arrays[f"{case.name}/seam/{name}"] = value
            facts["cases"][case.name] = golden
            print(case.name, golden["grids"], golden["tokens"], flush=True)
    (HERE / "golden.json").write_text(json.dumps(facts, indent=1) + "\n")
    np.savez_compressed(HERE / "golden.npz", **arrays)


if __name__ == "__main__":
    main()
