"""Rates of the vision kernels beside NumPy and beside what memory can deliver, in one run.

    python bench/kernels.py [--json FILE] [--ops amx,avx2] [--seconds 0.4]

Times are the best of many calls: on a shared machine the median measures the neighbours.  Weights of the
decode rows rotate through copies of 200 MB together, so that they come from memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seatrial.vision import ops as selection
from seatrial.vision.ops.protocol import Array, AttentionPrecision, Ops, Precision

LINEAR = [  # M, K, N, what
    (1024, 768, 3072, "256M tower fc1"),
    (1024, 3072, 768, "256M tower fc2"),
    (1024, 768, 768, "256M tower out"),
    (729, 1152, 4304, "2.2B tower fc1"),
    (1148, 576, 1536, "256M prefill gate"),
]
DECODE = [(1, 2048, 8192), (4, 2048, 8192), (8, 2048, 8192), (1, 576, 1536)]
ATTENTION = [  # S, T, H, G, D, causal, what
    (1024, 1024, 12, 12, 64, False, "256M tower"),
    (729, 729, 16, 16, 72, False, "2.2B tower"),
    (1150, 1150, 9, 3, 64, True, "256M prefill"),
    (1, 1150, 9, 3, 64, True, "256M decode"),
]
ROTATED_BYTES = 400_000_000
PRECISIONS: tuple[Precision, ...] = ("f32", "bf16", "int8", "int4")
ATTENTION_PRECISIONS: tuple[AttentionPrecision, ...] = ("f32", "bf16")


@dataclass
class Row:
    """One measured line; `rate` in GFLOP/s, GOP/s (whole numbers) or GB/s of weights as `unit` says."""

    implementation: str
    family: str
    case: str
    precision: str
    milliseconds: float
    rate: float
    unit: str


def normal(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32)


def best(call: Callable[[], object], seconds: float) -> float:
    """Return the shortest time of a call in seconds, over about `seconds`."""
    call()
    shortest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def memory_rows(ops: Ops, seconds: float) -> Iterator[Row]:
    """Streaming read: NumPy's sum on one thread, and attention of one query over a long cache on all."""
    data = np.ones(ROTATED_BYTES // 4, np.float32)
    took = best(data.sum, seconds)
    yield Row("numpy", "memory", "read, one thread", "f32", took * 1e3, data.nbytes / took / 1e9, "GB/s")
    keys, values = np.split(data[: data.size // 256 * 256].reshape(1, -1, 1, 128), 2, axis=1)
    query = np.ones((1, 1, 1, 128), np.float32)
    took = best(lambda: ops.attention(query, keys, values, causal=False, precision="f32"), seconds)
    case = f"read, {ops.threads} threads, by decode attention"
    yield Row(ops.instruction_set, "memory", case, "f32", took * 1e3, data.nbytes / took / 1e9, "GB/s")


def linear_rows(ops: Ops, seconds: float, precision: Precision) -> Iterator[Row]:
    for m, k, n, what in LINEAR:
        x, packed = normal(m, k), ops.pack(normal(n, k) * np.float32(0.05), normal(n), precision)
        for activation in (None, "gelu_tanh") if "fc1" in what else (None,):
            took = best(lambda: ops.linear(x, packed, activation=activation), seconds)  # noqa: B023
            case = f"{m}x{k}->{n} {what}{' +gelu' if activation else ''}"
            unit = "GOP/s" if packed.precision == "int8" else "GFLOP/s"
            rate = 2e-9 * m * k * n / took
            yield Row(ops.instruction_set, "linear", case, packed.precision, took * 1e3, rate, unit)


def decode_rows(ops: Ops, seconds: float, precision: Precision) -> Iterator[Row]:
    for m, k, n in DECODE:
        weight, x = normal(n, k), normal(m, k)
        first = ops.pack(weight, None, precision)
        copies = [first, *(ops.pack(weight.copy(), None, precision) for _ in range(ROTATED_BYTES // 2 // first.nbytes))]
        took = best(lambda: [ops.linear(x, packed) for packed in copies], seconds) / len(copies)  # noqa: B023
        rate = first.nbytes / took / 1e9
        yield Row(ops.instruction_set, "decode", f"{m}x{k}->{n}", precision, took * 1e3, rate, "GB/s")


def attention_rows(ops: Ops, seconds: float, precision: AttentionPrecision) -> Iterator[Row]:
    for s, t, h, g, d, causal, what in ATTENTION:
        q, k, v = normal(1, s, h, d), normal(1, t, g, d), normal(1, t, g, d)
        took = best(lambda: ops.attention(q, k, v, causal=causal, precision=precision), seconds)  # noqa: B023
        if s == 1:
            rate, unit = (k.nbytes + v.nbytes) / took / 1e9, "GB/s"
        else:
            rate, unit = 4e-9 * s * t * h * d * (0.5 if causal else 1) / took, "GFLOP/s"
        case = f"S={s} T={t} H={h}/{g} D={d} {what}"
        yield Row(ops.instruction_set, "attention", case, precision, took * 1e3, rate, unit)


def pointwise_rows(ops: Ops, seconds: float) -> Iterator[Row]:
    x, weight, gate_up = normal(1024, 768), normal(768), normal(1148, 3072)
    heads, angle = normal(1148, 9, 64), normal(1148, 32)
    cos, sin = np.cos(angle), np.sin(angle)
    for case, call, moved in [
        ("layer_norm 1024x768", lambda: ops.layer_norm(x, weight, weight, 1e-6), 2 * x.nbytes),
        ("rms_norm 1024x768", lambda: ops.rms_norm(x, weight, 1e-5), 2 * x.nbytes),
        ("silu_mul 1148x3072", lambda: ops.silu_mul(gate_up), gate_up.nbytes * 3 // 2),
        ("rope 1148x9x64", lambda: ops.rope(heads, cos, sin), 2 * heads.nbytes),
    ]:
        took = best(call, seconds)
        yield Row(ops.instruction_set, "pointwise", case, "f32", took * 1e3, moved / took / 1e9, "GB/s")


def measure(names: list[str], seconds: float) -> Iterator[Row]:
    """Yield rows as they are measured; the reference runs in float32 only, as NumPy has no narrower products."""
    yield from memory_rows(selection.select(names[0]), seconds)
    for name in names:
        ops = selection.select(name)
        for precision in PRECISIONS:
            if name == "reference" and precision != "f32":
                continue
            yield from linear_rows(ops, seconds, precision)
            yield from decode_rows(ops, seconds, precision)
        for attention_precision in ATTENTION_PRECISIONS:
            if name == "reference" and attention_precision != "f32":
                continue
            yield from attention_rows(ops, seconds, attention_precision)
        yield from pointwise_rows(ops, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--ops", default=",".join(selection.available()), help="implementations, comma separated")
    parser.add_argument("--seconds", type=float, default=0.4, help="per row")
    arguments = parser.parse_args()
    rows = []
    for row in measure(arguments.ops.split(","), arguments.seconds):
        rows.append(row)
        print(
            f"{row.implementation:9} {row.family:10} {row.precision:5} {row.case:44} "
            f"{row.milliseconds:10.3f} ms {row.rate:9.1f} {row.unit}",
            flush=True,
        )
    if arguments.json:
        facts: dict[str, Any] = {
            "machine": platform.processor() or platform.machine(),
            **selection.describe(),
        }
        arguments.json.write_text(json.dumps({"facts": facts, "rows": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
