"""Video: choose frames and their timestamps as the reference does, decode only those.

Source of the rules: transformers 5.23, `video_processing_smolvlm.py` (sampling) and
`processing_smolvlm.py` (timestamps).  One deviation: in a file of variable frame rate the timestamp
printed is the frame's own, not its index divided by the mean rate.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seatrial.errors import VideoError
from seatrial.vision.config import PictureConfig
from seatrial.vision.pictures import MAX_SIDE, cut, read_source

_ASSUMED_FPS = 24.0
_SKIP_SECONDS = 1
_MAX_FRAMES_IN_FILE = 1_000_000
_INDEXED_FORMATS = (
    "mp4",
    "matroska",
)  # seeking lands exactly on a key frame; elsewhere every frame is decoded
_STILL_FORMATS = ("mjpeg", "image2")  # what ffmpeg finds inside a PDF or a lone JPEG


@dataclass(frozen=True)
class Clip:
    """Sampled frames: `pixels` [frames, tile, tile, 3] uint8, `timestamps` and `duration` in seconds."""

    pixels: NDArray[np.uint8]
    timestamps: tuple[float, ...]
    duration: float
    size: tuple[int, int]


@dataclass(frozen=True)
class _Timeline:
    """Presentation times of a stream, sorted: `times` in units of `time_base` seconds."""

    times: list[int]
    keyframes: list[int]
    fps: float
    time_base: float

    @property
    def duration(self) -> float:
        return len(self.times) / self.fps

    @cached_property
    def _own_seconds(self) -> NDArray[np.float64]:
        return (np.asarray(self.times) - self.times[0]) * self.time_base

    @cached_property
    def _rate_varies(self) -> bool:
        """Whether any frame is more than half a frame away from where a constant rate would show it."""
        nominal = np.arange(len(self.times)) / self.fps
        return bool(np.abs(self._own_seconds - nominal).max() > 0.5 / self.fps)

    def seconds(self, index: int) -> float:
        """Time of frame `index`: index / fps as the reference has it, its own where the rate varies."""
        return float(self._own_seconds[index]) if self._rate_varies else index / self.fps


def sample_indices(frames: int, fps: float, duration: float, want_fps: float, max_frames: int) -> list[int]:
    """Return the frames to look at: `want_fps` a second, at most `max_frames`, evenly spread.

    A clip longer than `max_frames` seconds loses its first and last second.
    """
    desired = max(1, min(round(want_fps * duration), max_frames))
    start, end = 0, frames - 1
    if duration - 2 * _SKIP_SECONDS > max_frames * want_fps:
        start = int(_SKIP_SECONDS * fps)
        end = min(int(frames - _SKIP_SECONDS * fps), frames - 1)
        if start >= end:
            start, end = 0, frames - 1
    return [int(index) for index in np.unique(np.linspace(start, end, desired, dtype=int))]


def load_clip(source: str | Path | bytes, config: PictureConfig, *, max_pixels: int) -> Clip:
    """Decode the sampled frames of a video (or animated picture), one tile each.

    Raises VideoError: not a video, damaged, no video stream, no frames, frames above `max_pixels`.
    """
    content, name = read_source(source)
    try:
        with av.open(io.BytesIO(content), metadata_errors="replace") as container:
            if container.format.name in _STILL_FORMATS or container.format.name.endswith("_pipe"):
                raise VideoError(f"{name} is not a readable video: it holds still pictures.")
            if not container.streams.video:
                raise VideoError(f"{name} has no video stream.")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise VideoError(f"{name} is encoded in a way that cannot be decoded here.")
            width, height = stream.codec_context.width, stream.codec_context.height
            if width * height > max_pixels:
                raise VideoError(f"{name} has frames of {width} × {height} pixels, above the limit of {max_pixels:,}.")
            timeline = _timeline(container, stream, name)
            indices = sample_indices(
                len(timeline.times),
                timeline.fps,
                timeline.duration,
                config.video_fps,
                config.video_max_frames,
            )
        with av.open(io.BytesIO(content), metadata_errors="replace") as container:  # from its very first packet
            frames = list(_decode(container, timeline, indices))
    except av.FFmpegError as problem:
        raise VideoError(f"{name} is not a readable video: {problem.strerror}.") from problem
    except (ValueError, ArithmeticError, LookupError) as problem:  # damaged numbers in an otherwise readable file
        raise VideoError(f"{name} is not a readable video: {problem}.") from problem
    if not frames:
        raise VideoError(f"{name} has no frame that can be decoded.")
    whole_frame = replace(config, longest_edge=min(config.video_longest_edge, MAX_SIDE), split=False)
    pixels = np.concatenate([cut(frame, whole_frame).pixels for _, frame in frames])
    timestamps = tuple(timeline.seconds(index) for index, _ in frames)
    return Clip(pixels, timestamps, timeline.duration, frames[0][1].size)


def _timeline(container: Any, stream: Any, name: str) -> _Timeline:
    """Read every packet's time without decoding."""
    times: list[int] = []
    keyframes: list[int] = []
    try:
        for packet in container.demux(stream):
            time = packet.pts if packet.pts is not None else packet.dts
            if time is None or packet.size == 0:
                continue
            times.append(time)
            if packet.is_keyframe:
                keyframes.append(time)
            if len(times) > _MAX_FRAMES_IN_FILE:
                raise VideoError(f"{name} has more than {_MAX_FRAMES_IN_FILE:,} frames.")
    except av.FFmpegError:
        if not times:  # a file cut off in the middle is shown as far as it goes
            raise
    if not times:
        raise VideoError(f"{name} has a video stream without frames.")
    rate = stream.average_rate or stream.guessed_rate
    return _Timeline(
        sorted(times), sorted(keyframes), float(rate) if rate else _ASSUMED_FPS, float(stream.time_base or 0)
    )


def _decode(container: Any, timeline: _Timeline, indices: list[int]) -> Iterator[tuple[int, Image.Image]]:
    """Yield (index, upright RGB frame) for `indices`, jumping over key frames that nobody asked for."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    may_jump = any(name in container.format.name for name in _INDEXED_FORMATS)
    decoded = container.decode(stream)
    position = timeline.times[0]
    for index in indices:
        wanted = timeline.times[index]
        jump = max((time for time in timeline.keyframes if time <= wanted), default=position)
        if may_jump and jump > position:
            container.seek(jump, stream=stream, backward=True)
            decoded = container.decode(stream)
        try:
            frame = next(frame for frame in decoded if frame.pts is None or frame.pts >= wanted)
        except (StopIteration, av.FFmpegError):
            return
        position = frame.pts if frame.pts is not None else wanted
        yield index, _upright(frame)


def _upright(frame: Any) -> Image.Image:
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    quarter_turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
    # A display matrix rotates counter-clockwise, as Pillow's transposes do.
    turn = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}
    return image.transpose(turn[quarter_turns]) if quarter_turns else image
