"""OpenVINO through optimum-intel, as Intel publishes SmolVLM2: weights compressed by NNCF, a stateful decoder.

The export is kept beside the checkpoint.  What a compressed weight is multiplied in, OpenVINO chooses
for the processor; the report says it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.peers import Job, Sample
from bench.peers.hugging_face import generating

_GROUP = 64  # divides every width of the family


def open_model(job: Job) -> tuple[dict[str, Any], Callable[[], Sample]]:
    """Export the checkpoint where that has not been done, and compile it."""
    import openvino
    import torch
    from optimum.intel import OVModelForVisualCausalLM

    exported = job.folder / f"openvino-{job.form}"
    if not (exported / "config.json").is_file():
        _export(job, exported)
    began = time.perf_counter()
    model = OVModelForVisualCausalLM.from_pretrained(exported)
    load = time.perf_counter() - began
    computed = model.language_model.request.get_compiled_model().get_property("INFERENCE_PRECISION_HINT")
    facts = {
        "load": load,
        "precision": f"{job.form} weights, {computed.get_type_name()}",
        "operations": f"OpenVINO {openvino.__version__.partition('-')[0]}",
    }
    return generating(model, job, torch.float32, facts)


def _export(job: Job, target: Path) -> None:
    from optimum.intel import OVModelForVisualCausalLM, OVWeightQuantizationConfig

    compression = {
        "bf16": {"load_in_8bit": False},
        "int8": {"load_in_8bit": True},
        "int4": {"quantization_config": OVWeightQuantizationConfig(bits=4, sym=False, group_size=_GROUP)},
    }[job.form]
    OVModelForVisualCausalLM.from_pretrained(job.folder, export=True, compile=False, **compression).save_pretrained(
        target
    )
