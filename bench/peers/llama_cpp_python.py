"""llama.cpp through llama-cpp-python: both GGUF files, its own tiles and prompt, made before the clock starts.

Everything is as its `llama-mtmd-cli` has it: flash attention where it chooses so, a float16 cache, tiles
encoded one after another and each given to the text tower at once.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.peers import Job, Sample

_CONTEXT = 4096
_BATCH = 2048


def prepare(folder: Path, form: str) -> None:
    """Write the GGUF files of type `form` beside the checkpoint, unless they are there."""
    from seatrial import vision

    if not _pair(folder, form)[0].is_file():
        vision.convert(folder, _pair(folder, form)[0].parent, form)


def _pair(folder: Path, form: str) -> tuple[Path, Path]:
    target, name = folder / f"gguf-{form}", f"{folder.name}-{form.upper()}.gguf"
    return target / name, target / f"mmproj-{name}"


def open_model(job: Job) -> tuple[dict[str, Any], Callable[[], Sample]]:
    """Load both files and prepare the prompt."""
    import llama_cpp
    import numpy as np
    from llama_cpp import mtmd_cpp

    threads = len(os.sched_getaffinity(0))
    began = time.perf_counter()
    model, context = _load(llama_cpp, _pair(job.folder, job.form)[0], threads)
    seeing = mtmd_cpp.mtmd_context_params_default()
    seeing.use_gpu, seeing.n_threads = False, threads
    tower = mtmd_cpp.mtmd_init_from_file(str(_pair(job.folder, job.form)[1]).encode(), model, seeing)
    assert tower, "the mmproj file was refused"
    load = time.perf_counter() - began
    saved = np.load(job.folder / "prompt.npz")
    chunks, tiles = _chunks(mtmd_cpp, tower, saved)
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))

    def likeliest() -> int:
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, -1), (vocabulary,))
        return int(logits.argmax())

    def answer() -> Sample:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        position = ctypes.c_int32(0)
        began = time.perf_counter()
        failed = mtmd_cpp.mtmd_helper_eval_chunks(tower, context, chunks, 0, 0, _BATCH, True, ctypes.byref(position))
        assert not failed, "the prompt was refused"
        token = (llama_cpp.llama_token * 1)(likeliest())
        first = time.perf_counter()
        for _ in range(job.tokens - 1):
            assert not llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(token, 1))
            token[0] = likeliest()
        rate = (job.tokens - 1) / (time.perf_counter() - first)
        return {"first_token": first - began, "tokens_per_second": rate}

    facts = {
        "load": load,
        "tiles": tiles,
        "prompt_tokens": int(mtmd_cpp.mtmd_helper_get_n_tokens(chunks)),
        "precision": job.form,
        "operations": f"llama-cpp-python {llama_cpp.__version__}",
    }
    return facts, answer


def _load(llama_cpp: Any, file: Path, threads: int) -> tuple[Any, Any]:
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(str(file).encode(), llama_cpp.llama_model_default_params())
    assert model, f"{file} was refused"
    wanted = llama_cpp.llama_context_default_params()
    wanted.n_ctx, wanted.n_batch = _CONTEXT, _BATCH
    wanted.n_threads = wanted.n_threads_batch = threads
    return model, llama_cpp.llama_init_from_model(model, wanted)


def _chunks(mtmd_cpp: Any, tower: Any, saved: Any) -> tuple[Any, int]:
    """Return the prompt as llama.cpp cuts it, and how many of its parts are tiles."""
    picture = saved["picture"]
    height, width, _ = picture.shape
    pixels = picture.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
    bitmaps = (mtmd_cpp.mtmd_bitmap_p_ctypes * 1)(mtmd_cpp.mtmd_bitmap_init(width, height, pixels))
    marker = mtmd_cpp.mtmd_default_marker().decode()
    content = f"<|im_start|>User:{marker}{saved['question']}<end_of_utterance>\nAssistant:".encode()
    text = mtmd_cpp.mtmd_input_text()
    text.text, text.add_special, text.parse_special = content, False, True
    if hasattr(text, "text_len"):
        text.text_len = len(content)
    chunks = mtmd_cpp.mtmd_input_chunks_init()
    assert not mtmd_cpp.mtmd_tokenize(tower, chunks, ctypes.byref(text), bitmaps, 1), "the prompt was refused"
    kinds = [
        mtmd_cpp.mtmd_input_chunk_get_type(mtmd_cpp.mtmd_input_chunks_get(chunks, i))
        for i in range(mtmd_cpp.mtmd_input_chunks_size(chunks))
    ]
    return chunks, sum(kind != mtmd_cpp.MTMD_INPUT_CHUNK_TYPE_TEXT for kind in kinds)
