from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seatrial.errors import SeatrialError, VideoError
from seatrial.vision import video
from seatrial.vision.config import PictureConfig
from tests.golden.cases import picture
from tests.unit.vision.test_documents import pdf

CONFIG = PictureConfig(256, 64, True, 1, 1 / 255, (0.5,) * 3, (0.5,) * 3, 1, 64, 64)


def shade(number: int) -> Image.Image:
    """A frame that says which one it is by its grey."""
    return Image.new("RGB", (64, 48), (number * 2 % 256,) * 3)


def encoded(
    count: int,
    fps: int = 10,
    form: str = "mp4",
    codec: str = "mpeg4",
    times: list[int] | None = None,
    keys: int = 12,
) -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as container:
        track = container.add_stream(codec, rate=fps)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        track.codec_context.gop_size = keys
        track.codec_context.time_base = Fraction(1, 1000 if times else fps)
        for number in range(count):
            frame = av.VideoFrame.from_image(shade(number))
            frame.pts = times[number] if times else number
            frame.time_base = track.codec_context.time_base
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return stream.getvalue()


def sound_only() -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        for _ in range(10):
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return stream.getvalue()


def load(source: bytes | Path) -> video.Clip:
    return video.load_clip(source, CONFIG, max_pixels=10**7)


def greys(clip: video.Clip) -> list[int]:
    return [round(float(frame.mean()) / 2) for frame in clip.pixels]


@pytest.mark.parametrize(
    ("duration", "fps", "count", "first", "last"),
    [
        (0.3, 30.0, 1, 0, 0), (1.0, 30.0, 1, 0, 0), (2.0, 30.0, 2, 0, 59), (64.0, 30.0, 64, 0, 1919),
        (66.5, 30.0, 64, 30, 1965), (67.0, 30.0, 64, 30, 1980), (3600.0, 30.0, 64, 30, 107970),
        (10.0, 23.976, 10, 0, 239), (10.0, 60.0, 10, 0, 599), (2.5, 24.0, 2, 0, 59),
    ],
)  # fmt: skip
def test_sampling_rules(duration: float, fps: float, count: int, first: int, last: int) -> None:
    indices = video.sample_indices(round(duration * fps), fps, duration, 1, 64)
    assert (len(indices), indices[0], indices[-1]) == (count, first, last)


@settings(max_examples=300, deadline=None)
@given(frames=st.integers(1, 100_000), fps=st.floats(0.1, 240))
def test_sampling_properties(frames: int, fps: float) -> None:
    indices = video.sample_indices(frames, fps, frames / fps, 1, 64)
    assert indices == sorted(set(indices))
    assert 1 <= len(indices) <= 64
    assert 0 <= indices[0] <= indices[-1] < frames


def test_the_frames_decoded_are_those_sampled() -> None:
    clip = load(encoded(50))
    assert clip.timestamps == (0.0, 1.2, 2.4, 3.6, 4.9)
    for seen, index in zip(greys(clip), (0, 12, 24, 36, 49), strict=True):
        assert abs(seen - index) <= 2
    assert clip.pixels.shape == (5, 64, 64, 3)
    assert clip.duration == 5.0


def test_jumping_over_key_frames_gives_the_same_frames() -> None:
    clip = load(encoded(120, fps=12, keys=6))
    indices = np.linspace(0, 119, 10, dtype=int)
    assert all(abs(seen - index % 128) <= 2 for seen, index in zip(greys(clip), indices, strict=True))


def test_variable_rate_shows_the_frames_own_times() -> None:
    clip = load(encoded(4, times=[0, 100, 5000, 9000]))
    assert set(clip.timestamps) <= {0.0, 0.1, 5.0, 9.0}
    assert clip.timestamps[-1] == 9.0


def test_missing_duration() -> None:
    """A transport stream states neither duration nor number of frames."""
    clip = load(encoded(75, form="mpegts", codec="mpeg2video", fps=25))
    assert clip.timestamps == (0.0, 37 / 25, 74 / 25)


def test_gif_plays_on_request() -> None:
    stream = io.BytesIO()
    frames = [picture(32, 32, seed) for seed in range(4)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=1000)
    assert len(load(stream.getvalue()).pixels) >= 3


def test_rotation_is_applied(tmp_path: Path) -> None:
    source, turned = tmp_path / "a.mp4", tmp_path / "b.mp4"
    source.write_bytes(encoded(3))
    raw = bytearray(source.read_bytes())
    matrix = raw.index(b"tkhd") + 4 + 40
    # a quarter turn in the track header's matrix, 16.16 fixed point
    numbers = [0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000]
    raw[matrix : matrix + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    turned.write_bytes(raw)
    assert load(source).size == (64, 48)
    assert load(turned).size == (48, 64)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (sound_only(), "no video stream"),
        (encoded(0), "not a readable video|without frames|no video stream|empty"),
        (b"not a video at all" * 50, "not a readable video"),
        (pdf(), "not a readable video"),
        (encoded(30)[:300], "not a readable video|without frames|no video stream"),
        (b"", "empty"),
    ],
)
def test_what_is_no_video_is_said(content: bytes, complaint: str) -> None:
    with pytest.raises(SeatrialError, match=complaint):
        load(content)


def test_large_frames_are_refused() -> None:
    with pytest.raises(VideoError, match="above the limit"):
        video.load_clip(encoded(3), CONFIG, max_pixels=1000)


def test_a_clip_cut_off_in_the_middle_is_shown_as_far_as_it_goes() -> None:
    whole = encoded(100, form="matroska")
    clip = load(whole[: len(whole) * 2 // 3])
    assert 1 <= len(clip.pixels) <= 10


@settings(max_examples=60, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=10))
def test_fuzzed_clips_end_in_one_sentence(flips: list[tuple[int, int]]) -> None:
    raw = bytearray(encoded(8))
    for position, value in flips:
        raw[position % len(raw)] = value
    try:
        load(bytes(raw))
    except SeatrialError as problem:
        assert "\n" not in problem.message
