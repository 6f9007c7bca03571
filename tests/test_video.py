"""Do frames survive the way from a file into chunks, and back into a file?"""

import itertools
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.errors import UserError
from streamtwin.runtime import video
from streamtwin.runtime.spool import VideoSpool, encode_spool, write_video
from streamtwin.runtime.video import (
    Clip,
    FrameSource,
    read_frames,
)

WriteVideo = Callable[..., Path]


def smooth_frames(count: int, height: int, width: int) -> np.ndarray:
    """A disc that moves over a colour gradient: survives lossy coding, differs in every frame."""
    y, x = np.mgrid[:height, :width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for i in range(count):
        disc = np.hypot(y - height / 2, x - width * (i + 1) / (count + 1)) < height / 5
        frames[i] = np.stack([200 * x / width, 200 * y / height, 60 + 140 * disc], axis=-1)
    return frames


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.fixture
def mp4(tmp_path: Path) -> Path:
    path = tmp_path / "disc.mp4"
    write_video(smooth_frames(9, 96, 160), 16.0, path)
    return path


def write_raw(
    path: Path, frames: np.ndarray, codec: str, pix_fmt: str, **stream_attributes
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, 10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        for name, value in stream_attributes.items():
            setattr(stream.codec_context, name, value)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    return path


# --- reading -------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(mp4: Path) -> None:
    clip = read_frames(mp4, 96, 160)
    assert clip.frames.shape == (9, 96, 160, 3)
    assert clip.frames.dtype == np.uint8
    assert (clip.fps, clip.corrupt, clip.path) == (16.0, 0, mp4)
    for read, written in zip(clip.frames, smooth_frames(9, 96, 160), strict=True):
        assert distance(read, written) < 4


def test_frames_keep_their_order(mp4: Path) -> None:
    written = smooth_frames(9, 96, 160)
    for i, read in enumerate(read_frames(mp4, 96, 160).frames):
        assert np.argmin([distance(read, frame) for frame in written]) == i


@pytest.mark.parametrize("colour", [(230, 20, 20), (20, 230, 20), (20, 20, 230), (255, 255, 255)])
@pytest.mark.parametrize("size", [(48, 64), (720, 1280)], ids=["sd", "hd"])
def test_colours_survive_at_every_size(tmp_path: Path, colour: tuple, size: tuple) -> None:
    frames = np.full((1, *size, 3), colour, np.uint8)
    write_video(frames, 10.0, tmp_path / "flat.mp4")
    read = read_frames(tmp_path / "flat.mp4", *size).frames
    assert np.abs(read.astype(int) - frames).max() <= 6


def test_reads_at_most_max_frames(mp4: Path) -> None:
    every, some = read_frames(mp4, 48, 80), read_frames(mp4, 48, 80, max_frames=4)
    assert np.array_equal(some.frames, every.frames[:4])
    assert len(read_frames(mp4, 48, 80, max_frames=99).frames) == 9


@pytest.mark.parametrize("fps", [16.0, 29.97, 24000 / 1001, 12.5])
def test_states_the_rate_of_the_source(tmp_path: Path, fps: float) -> None:
    write_video(smooth_frames(6, 32, 32), fps, tmp_path / "rate.mp4")
    assert read_frames(tmp_path / "rate.mp4", 32, 32).fps == pytest.approx(fps, rel=1e-4)


def test_a_variable_frame_rate_is_not_resampled(tmp_path: Path) -> None:
    path, frames = tmp_path / "variable.mkv", smooth_frames(6, 32, 48)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", 30)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "bgr0"
        for frame, pts in zip(frames, [0, 1, 5, 6, 20, 45], strict=True):
            picture = av.VideoFrame.from_ndarray(frame)
            picture.pts, picture.time_base = pts, Fraction(1, 30)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert np.array_equal(read_frames(path, 32, 48).frames, frames)


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (7, 640)])
def test_odd_sources_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_raw(tmp_path / "odd.mkv", smooth_frames(3, *size), "ffv1", "bgr0")
    assert read_frames(path, 31, 45).frames.shape == (3, 31, 45, 3)


def test_a_name_with_a_colon_is_a_file(mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mp4.parent)
    odd = mp4.rename(mp4.with_name("http:a b%20.mp4"))
    assert len(read_frames(Path(odd.name), 48, 80).frames) == 9


# --- geometry ------------------------------------------------------------------------------------


def test_a_wide_video_gets_bars_above_and_below(tmp_path: Path) -> None:
    source = np.full((2, 64, 256, 3), 180, np.uint8)
    path = write_raw(tmp_path / "wide.mkv", source, "ffv1", "bgr0")
    frames = read_frames(path, 96, 128).frames  # 256 x 64 becomes 128 x 32
    assert (frames[:, :32] == 0).all()
    assert (frames[:, 64:] == 0).all()
    assert (np.abs(frames[:, 32:64].astype(int) - 180) <= 2).all()


def test_a_tall_video_gets_bars_left_and_right(tmp_path: Path) -> None:
    source = np.full((2, 256, 64, 3), 180, np.uint8)
    path = write_raw(tmp_path / "tall.mkv", source, "ffv1", "bgr0")
    frames = read_frames(path, 64, 128).frames  # 64 x 256 becomes 16 x 64
    assert (frames[:, :, :56] == 0).all()
    assert (frames[:, :, 72:] == 0).all()
    assert (np.abs(frames[:, :, 56:72].astype(int) - 180) <= 2).all()


@pytest.mark.parametrize("source", [(120, 300), (300, 120), (200, 200)])
@pytest.mark.parametrize("target", [(96, 160), (400, 560)], ids=["smaller", "larger"])
def test_a_circle_stays_a_circle(tmp_path: Path, source: tuple, target: tuple) -> None:
    y, x = np.mgrid[: source[0], : source[1]]
    radius = 50
    disc = np.hypot(y - source[0] / 2 + 0.5, x - source[1] / 2 + 0.5) < radius
    frames = np.repeat((255 * disc).astype(np.uint8)[None, ..., None], 3, axis=-1)
    path = write_raw(tmp_path / "disc.mkv", frames, "ffv1", "bgr0")
    bright = read_frames(path, *target).frames[0, ..., 0] > 127
    scale = min(target[0] / source[0], target[1] / source[1])
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    assert len(rows) == pytest.approx(2 * radius * scale, abs=2)
    assert len(columns) == pytest.approx(2 * radius * scale, abs=2)
    assert rows.mean() == pytest.approx((target[0] - 1) / 2, abs=1)
    assert columns.mean() == pytest.approx((target[1] - 1) / 2, abs=1)


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path, source = tmp_path / "pal.mp4", np.full((1, 64, 64, 3), 180, np.uint8)
    write_raw(path, source, "libx264", "yuv420p", sample_aspect_ratio=Fraction(2, 1))
    frame = read_frames(path, 64, 128).frames[0]
    assert (np.abs(frame.astype(int) - 180) <= 4).all()


# Rotation matrices of an .mp4, counterclockwise as the picture is shown: (a, b, c, d), 16.16.
ROTATIONS = {1: (0, -1, 1, 0), 2: (-1, 0, 0, -1), 3: (0, 1, -1, 0)}


@pytest.mark.parametrize("quarters", ROTATIONS)
def test_a_rotated_recording_is_shown_upright(mp4: Path, quarters: int) -> None:
    upright = read_frames(mp4, 96, 160).frames
    data, place = bytearray(mp4.read_bytes()), mp4.read_bytes().index(b"tkhd") + 44
    a, b, c, d = (65536 * value for value in ROTATIONS[quarters])
    data[place : place + 20] = struct.pack(">5i", a, b, 0, c, d)
    mp4.write_bytes(data)
    size = (160, 96) if quarters % 2 else (96, 160)
    turned = read_frames(mp4, *size).frames
    assert distance(turned, np.rot90(upright, quarters, axes=(1, 2))) < 2


# --- what cannot be read -------------------------------------------------------------------------


def refusal(path: Path, height: int = 48, width: int = 80, **limits: int) -> str:
    with pytest.raises(UserError) as caught:
        read_frames(path, height, width, **limits)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such video file" in refusal(tmp_path / "none.mp4")


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    assert "is not a file" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"three little pigs\n" * 100, bytes(5000)])
def test_another_file_named_mp4_is_not_a_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(content)
    assert "not a readable video" in refusal(path)


def test_audio_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "audio.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert "no video stream" in refusal(path)


@pytest.mark.parametrize("size", [(0, 80), (48, -1)])
def test_a_size_of_nothing_is_refused(mp4: Path, size: tuple[int, int]) -> None:
    assert "at least 1" in refusal(mp4, *size)
    assert "at least 1" in refusal(mp4, max_frames=0)


def test_too_large_is_refused_with_the_numbers(mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_decode", lambda *_: pytest.fail("decoded what cannot be held"))
    message = refusal(mp4, 1024, 1024, max_bytes=8 * 2**20)
    assert "27.0 MiB" in message  # 9 frames of 3 MiB
    assert "limit is 8.0 MiB" in message


def test_fewer_frames_fit(mp4: Path) -> None:
    clip = read_frames(mp4, 1024, 1024, max_frames=2, max_bytes=8 * 2**20)
    assert len(clip.frames) == 2


def test_a_header_that_hides_the_length_does_not_help(tmp_path: Path) -> None:
    path = tmp_path / "stream.h264"  # a bare stream says nothing about its length
    write_raw(path, smooth_frames(9, 96, 160), "libx264", "yuv420p")
    assert "limit is 0.1 MiB" in refusal(path, 96, 160, max_bytes=100_000)


def test_an_mp4_without_its_index_is_refused(mp4: Path) -> None:
    data = mp4.read_bytes()
    mp4.write_bytes(data[: data.index(b"moov") - 4])  # the index is what comes last
    assert "not a readable video" in refusal(mp4)


@pytest.fixture
def intra(tmp_path: Path) -> Path:
    """Frames that depend on no other, behind an index: damage stays where it is done."""
    path = tmp_path / "intra.mp4"
    options = {"movflags": "+faststart"}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("ffv1", 10, {"slicecrc": "1"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "bgr0"
        for frame in smooth_frames(10, 64, 96):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    return path


def test_a_truncated_mp4_keeps_what_decodes(intra: Path) -> None:
    whole = read_frames(intra, 64, 96).frames
    data = intra.read_bytes()
    start = data.index(b"mdat")
    intra.write_bytes(data[: start + (len(data) - start) * 55 // 100])
    clip = read_frames(intra, 64, 96)
    assert 4 <= len(clip.frames) <= 6
    assert np.array_equal(clip.frames, whole[: len(clip.frames)])
    assert clip.corrupt == 10 - len(clip.frames)


def damaged(path: Path, which: Callable[[int], bool]) -> Path:
    """Ten PNG pictures in an .avi, some with a header that says they are 0 pixels wide."""
    write_raw(path, smooth_frames(10, 64, 96), "png", "rgb24")
    data = bytearray(path.read_bytes())
    headers = [i for i in range(len(data)) if data[i : i + 4] == b"IHDR"]
    for header in (at for index, at in enumerate(headers) if which(index)):
        data[header + 4 : header + 8] = bytes(4)
    path.write_bytes(data)
    return path


def test_damage_is_counted(tmp_path: Path) -> None:
    clip = read_frames(damaged(tmp_path / "png.avi", lambda i: i in (3, 6)), 64, 96)
    assert clip.corrupt == 2
    assert np.array_equal(clip.frames, np.delete(smooth_frames(10, 64, 96), [3, 6], axis=0))


def test_a_picture_marked_as_damaged_is_counted(mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = video._pictures
    bad = SimpleNamespace(is_corrupt=True)
    monkeypatch.setattr(video, "_pictures", lambda *of: itertools.chain([bad], pictures(*of)))
    clip = read_frames(mp4, 48, 80)
    assert (len(clip.frames), clip.corrupt) == (9, 1)


def test_damage_everywhere_is_refused(tmp_path: Path) -> None:
    message = refusal(damaged(tmp_path / "png.avi", lambda _: True))
    assert "no frame of its video decodes (10 corrupt)" in message


def test_a_codec_nobody_knows_is_refused(mp4: Path) -> None:
    head, table = mp4.read_bytes().split(b"stsd", 1)
    mp4.write_bytes(head + b"stsd" + table.replace(b"avc1", b"zzzz").replace(b"avcC", b"free"))
    assert "no decoder for its video" in refusal(mp4)


# --- chunks --------------------------------------------------------------------------------------


def numbered_clip(count: int) -> Clip:
    frames = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(3, -1)
    return Clip(frames, 16.0, Path("numbered"))


def stream_of(count: int, latents: int, chunks: int) -> list[int]:
    source = FrameSource(numbered_clip(count), latents)
    return [int(f) for k in range(chunks) for f in source.frames(k)[:, 0, 0, 0]]


@given(latents=st.integers(1, 5), chunk=st.integers(0, 50), count=st.integers(1, 60))
def test_chunk_zero_has_one_frame_more(latents: int, chunk: int, count: int) -> None:
    frames = FrameSource(numbered_clip(count), latents).frames(chunk)
    assert frames.shape == ((1 if chunk == 0 else 0) + 4 * latents, 1, 1, 3)
    assert frames.dtype == np.uint8


def test_chunks_follow_each_other_without_gap() -> None:
    assert stream_of(21, 2, 2) == list(range(17))


def test_the_clip_plays_back_and_forth() -> None:
    assert stream_of(4, 1, 3) == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0]


@given(count=st.integers(2, 60), latents=st.integers(1, 5), chunks=st.integers(2, 20))
def test_consecutive_frames_are_neighbours_in_the_clip(
    count: int, latents: int, chunks: int
) -> None:
    stream = stream_of(count, latents, chunks)
    assert stream[0] == 0
    assert {abs(b - a) for a, b in itertools.pairwise(stream)} == {1}
    turns = [b for a, b, c in zip(stream, stream[1:], stream[2:], strict=False) if a == c]
    assert set(turns) <= {0, count - 1}  # it turns round at the ends only


def test_a_still_picture_stands_still() -> None:
    assert set(stream_of(1, 1, 5)) == {0}


# --- spool ---------------------------------------------------------------------------------------


def spool(path: Path, frames: np.ndarray) -> Path:
    with VideoSpool(path) as file:
        for start in range(0, len(frames), 4):
            file.append(frames[start : start + 4])
    return path


def test_a_spool_becomes_a_video(tmp_path: Path) -> None:
    frames = smooth_frames(13, 64, 96)
    raw, out = spool(tmp_path / "run.raw", frames), tmp_path / "run.mp4"
    assert encode_spool(raw, 64, 96, 16.0, out) == 13
    clip = read_frames(out, 64, 96)
    assert (len(clip.frames), clip.fps) == (13, 16.0)
    assert distance(clip.frames, frames) < 4
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_a_frame_cut_short_is_left_out(tmp_path: Path) -> None:
    frames = smooth_frames(6, 64, 96)
    raw, out = spool(tmp_path / "run.raw", frames), tmp_path / "run.mp4"
    raw.write_bytes(raw.read_bytes()[:-1])
    assert encode_spool(raw, 64, 96, 16.0, out) == 5
    assert len(read_frames(out, 64, 96).frames) == 5


def test_appended_frames_are_on_disk_before_the_spool_is_closed(tmp_path: Path) -> None:
    file = VideoSpool(tmp_path / "run.raw")
    file.append(smooth_frames(1, 2, 2)[:, ::-1])
    assert (tmp_path / "run.raw").stat().st_size == 12
    file.close()


def test_an_empty_spool_makes_no_video(tmp_path: Path) -> None:
    raw, out = spool(tmp_path / "run.raw", smooth_frames(0, 64, 96)), tmp_path / "run.mp4"
    assert encode_spool(raw, 64, 96, 16.0, out) == 0
    assert not out.exists()


def test_a_missing_spool_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.raw: cannot read"):
        encode_spool(tmp_path / "none.raw", 64, 96, 16.0, tmp_path / "run.mp4")


# --- writing -------------------------------------------------------------------------------------


def test_an_odd_size_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="33 x 48 pixels; height and width must be even"):
        write_video(smooth_frames(1, 33, 48), 16.0, tmp_path / "odd.mp4")
    assert not (tmp_path / "odd.mp4").exists()


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_must_be_positive(tmp_path: Path, fps: float) -> None:
    with pytest.raises(UserError, match="fps must be positive"):
        write_video(smooth_frames(1, 32, 48), fps, tmp_path / "rate.mp4")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none/out\.mp4: cannot write"):
        write_video(smooth_frames(1, 32, 48), 16.0, tmp_path / "none" / "out.mp4")


def test_without_h264_the_next_best_is_written_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    frames, out = smooth_frames(5, 64, 96), tmp_path / "old.mp4"
    with pytest.warns(UserWarning, match="no H.264 encoder; writing MPEG-4 part 2"):
        write_video(frames, 16.0, out)
    assert distance(read_frames(out, 64, 96).frames, frames) < 5


def test_without_any_encoder_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", set())
    with pytest.raises(UserError, match="none of the encoders libx264"):
        write_video(smooth_frames(1, 64, 96), 16.0, tmp_path / "out.mp4")
