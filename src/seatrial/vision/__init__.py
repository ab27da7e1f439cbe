"""Vision: a CPU engine for the SmolVLM2 family.

from seatrial import vision
engine = vision.open("pico")
print(engine.ask("receipt.jpg", "What is the total?").text)
"""

from seatrial.errors import MissingExtraError

try:
    from seatrial.vision.conversion import NUMBER_TYPES, Conversion, convert
    from seatrial.vision.detail import parse_detail
    from seatrial.vision.engine import Engine, Reply
    from seatrial.vision.engine import open_engine as open
    from seatrial.vision.features import FeatureCache
    from seatrial.vision.hub import find as find_model
    from seatrial.vision.hub import pull
    from seatrial.vision.inspection import ModelSummary, describe_operations, measure_speed, summarise
    from seatrial.vision.memory import MemoryPlan, parse_bytes
    from seatrial.vision.packed import PackedCache
    from seatrial.vision.prefixes import PrefixCache
    from seatrial.vision.processor import Processor, Reading
    from seatrial.vision.prompt import Prompt
    from seatrial.vision.sampling import Decoding
    from seatrial.vision.sheet import contact_sheet
    from seatrial.vision.shelf import CacheUse
except ModuleNotFoundError as problem:
    raise MissingExtraError(str(problem.name).partition(".")[0], "vision") from problem

__all__ = [
    "NUMBER_TYPES",
    "CacheUse",
    "Conversion",
    "Decoding",
    "Engine",
    "FeatureCache",
    "MemoryPlan",
    "ModelSummary",
    "PackedCache",
    "PrefixCache",
    "Processor",
    "Prompt",
    "Reading",
    "Reply",
    "contact_sheet",
    "convert",
    "describe_operations",
    "find_model",
    "measure_speed",
    "open",
    "parse_bytes",
    "parse_detail",
    "pull",
    "summarise",
]
