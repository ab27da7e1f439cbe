"""A loaded checkpoint: processor, packed towers and the operations they run on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from seatrial.vision.decoder import Decoder, load_decoder
from seatrial.vision.features import FeatureCache
from seatrial.vision.kv import PagePool
from seatrial.vision.memory import CONTEXTS, MemoryPlan
from seatrial.vision.ops import select
from seatrial.vision.ops.protocol import KvPrecision, Ops, Precision
from seatrial.vision.packed import LinearSource, PackedCache, PackedFile
from seatrial.vision.precision import RECIPES, resolve_precision
from seatrial.vision.prefixes import PrefixCache
from seatrial.vision.processor import Processor
from seatrial.vision.tower import TENSORS as TOWER
from seatrial.vision.tower import Tower, load_tower
from seatrial.vision.weights import Weights


@dataclass(frozen=True)
class Model:
    """Everything needed to answer.

    `features` keeps tiles that were seen, under `fingerprint`: the tower's weights, the precision and
    the instruction set (empty when nothing is kept); `pool` holds keys and values, of which `prefixes` keeps
    those of prompts seen lately; `load_seconds` is how long reading and packing took.
    """

    processor: Processor
    tower: Tower
    decoder: Decoder
    ops: Ops
    precision: Precision
    eos_ids: frozenset[int]
    fingerprint: str
    features: FeatureCache
    pool: PagePool
    prefixes: PrefixCache
    load_seconds: float
    plan: MemoryPlan | None = None
    """How it was fitted into a limit of memory, where there was one."""


def load_model(
    checkpoint: Path | Processor,
    precision: str = "auto",
    ops: Ops | None = None,
    features: FeatureCache | None = None,
    prefixes: PrefixCache | None = None,
    packed: PackedCache | None = None,
    plan: MemoryPlan | None = None,
    kv: KvPrecision = "same",
) -> Model:
    """Read and pack a checkpoint (folder or GGUF file), or the one a `Processor` was made from.

    `features` keeps the features of tiles, `prefixes` keys and values, `packed` packed weights; none are kept
    without them.  `plan` says the precision and how much room keys and values get; without it, room for four
    prompts of full length.  `kv` "int8" keeps keys and values in half the memory of bfloat16.

    `precision` "auto" is bf16 where the processor multiplies it fast, else f32; "int8" and "int4" quantise
    while packing, by the table in `precision.py`.  Raises ModelError and
    its children for a damaged checkpoint, SettingError for an unknown precision.
    """
    began = time.perf_counter()
    ops = ops or select()
    chosen = plan.precision if plan else resolve_precision(precision, ops)
    processor = checkpoint if isinstance(checkpoint, Processor) else Processor(checkpoint)
    weights = processor.files.weights()
    features = features or FeatureCache(memory_limit=0, disk_limit=0)
    packed = packed or PackedCache(disk_limit=0)
    tower, decoder, tower_hash = _towers(processor, weights, chosen, ops, packed, hashed=not features.is_off)
    end_of_turn = processor.tokenizer.control_id("<end_of_utterance>")
    prefixes = prefixes or PrefixCache(0)
    text = processor.config.text
    positions = plan.positions if plan else CONTEXTS * text.max_positions
    pool = PagePool(text, ops, decoder.attention, positions, plan.kv if plan else kv)
    pool.make_room = prefixes.give_up
    eos = set(processor.config.eos_token_ids) | ({end_of_turn} if end_of_turn is not None else set())
    return Model(
        processor=processor,
        tower=tower,
        decoder=decoder,
        ops=ops,
        precision=chosen,
        eos_ids=frozenset(eos),
        fingerprint=f"{tower_hash} {chosen} {ops.instruction_set}" if tower_hash else "",
        features=features,
        pool=pool,
        prefixes=prefixes,
        plan=plan,
        load_seconds=time.perf_counter() - began,
    )


def _towers(
    processor: Processor, weights: Weights, precision: Precision, ops: Ops, packed: PackedCache, *, hashed: bool
) -> tuple[Tower, Decoder, str]:
    """Return both towers, mapped from `packed` where it has them, and the hash of the tower's weights if wanted."""
    recipe = RECIPES[precision]

    def load(source: LinearSource) -> tuple[Tower, Decoder]:
        tower = load_tower(weights, processor.config, ops, recipe, source)
        return tower, load_decoder(weights, processor.config, ops, recipe, source)

    def build(source: LinearSource) -> dict[str, str]:
        load(source)
        return {"tower": weights.fingerprint(*TOWER)}

    identity = f"{weights.identity()} {recipe}"
    source = packed.open(f"{processor.files.path.stem}-{precision}", identity, weights.nbytes, ops, build)
    if isinstance(source, PackedFile):
        return *load(source), source.facts["tower"]
    return *load(source), weights.fingerprint(*TOWER) if hashed else ""
