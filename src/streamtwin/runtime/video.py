"""How do the frames of a video file become the chunks of a stream?

Pixels are RGB, frames uint8 [F, H, W, 3].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import av
import av.container
import numpy as np
from av.stream import Disposition
from av.video.reformatter import (
    VideoReformatter,
)
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamtwin.core.errors import UserError
from streamtwin.core.specs import TIME_STRIDE

Frames = NDArray[np.uint8]

MIB = 2**20


@dataclass(frozen=True)
class Clip:
    """Decoded frames, uint8 [F, H, W, 3], and the rate in frames per second that the file states.

    Frames stand in display order, one per picture in the file: a variable frame rate is not
    resampled.
    """

    frames: Frames
    fps: float
    path: Path
    corrupt: int = 0
    """Pictures that did not decode, came out damaged, or that the file announces and lacks."""


def read_frames(
    path: Path,
    height: int,
    width: int,
    *,
    max_frames: int | None = None,
    max_bytes: int = 2048 * MIB,
) -> Clip:
    """Decode *path*, scaled to fit *height* x *width* pixels and centred on black.

    Pixel shape and rotation that the file states are honoured. Reads the first video stream, at
    most *max_frames* of it. Raises UserError when there is nothing to decode, or when the frames
    would take more than *max_bytes*.
    """
    if height < 1 or width < 1 or (max_frames is not None and max_frames < 1):
        raise UserError(
            f"{path}: cannot read {max_frames or 'all'} frames at {height} x {width} pixels; "
            "height, width and frames must be at least 1"
        )
    if not path.is_file():
        raise UserError(f"{path}: {'is not a file' if path.exists() else 'no such video file'}")
    try:
        # The prefix keeps a colon in the file's name from being taken for a protocol.
        with av.open(f"file:{path}") as container:
            stream = _video_stream(container, path)
            budget = _Budget(path, height * width * 3, max_frames, max_bytes)
            budget.check(_stated_frames(stream))
            return _decode(container, stream, budget, (height, width))
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{path}: not a readable video: {error.strerror or error}") from error


@dataclass(frozen=True)
class _Budget:
    path: Path
    frame_bytes: int
    max_frames: int | None
    max_bytes: int

    def check(self, frames: int) -> None:
        """Refuse to hold *frames*, or *max_frames* if that is fewer."""
        size = min(frames, self.max_frames or frames) * self.frame_bytes
        if size > self.max_bytes:
            raise UserError(
                f"{self.path}: {size // self.frame_bytes} or more frames need {size / MIB:.1f} MiB "
                f"of memory at this resolution, the limit is {self.max_bytes / MIB:.1f} MiB; "
                "read fewer frames, or at a lower resolution"
            )


def _video_stream(container: av.container.InputContainer, path: Path) -> VideoStream:
    # The cover picture of an audio file counts as a video stream.
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise UserError(f"{path}: has no video stream")
    if streams[0].codec_context is None:
        raise UserError(f"{path}: this build of av has no decoder for its video")
    if not (streams[0].average_rate or streams[0].guessed_rate):
        raise UserError(f"{path}: does not state a frame rate")
    return streams[0]


def _stated_frames(stream: VideoStream) -> int:
    """Count frames as the file's header does; 0 where it says nothing."""
    if stream.frames or not (stream.duration and stream.time_base and stream.average_rate):
        return stream.frames
    return int(stream.duration * stream.time_base * stream.average_rate)


def _decode(
    container: av.container.InputContainer,
    stream: VideoStream,
    budget: _Budget,
    size: tuple[int, int],
) -> Clip:
    reformatter = VideoReformatter()
    pixels = bytearray()  # grows in place, where a list of frames would need twice the memory
    count = corrupt = 0
    for picture in _pictures(container, stream):
        if picture is None or picture.is_corrupt:
            corrupt += 1
            continue
        count += 1
        budget.check(count)
        pixels += _letterbox(picture, stream, reformatter, size).data
        if count == budget.max_frames:
            break
    if not count:
        raise UserError(f"{budget.path}: no frame of its video decodes ({corrupt} corrupt)")
    rate = stream.average_rate or stream.guessed_rate
    assert rate is not None
    frames = np.frombuffer(pixels, np.uint8).reshape(count, *size, 3)
    return Clip(frames, float(rate), budget.path, corrupt)


def _pictures(
    container: av.container.InputContainer, stream: VideoStream
) -> Iterator[av.VideoFrame | None]:
    """Yield each picture, and None for each packet that is missing or does not decode."""
    packets, num_read = container.demux(stream), 0
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:  # nothing can be read past this point
            packet = None
        if packet is None:
            break
        num_read += packet.size > 0
        try:
            yield from stream.decode(packet)
        except av.FFmpegError:
            yield None
    yield from repeat(None, stream.frames - num_read)


def _letterbox(
    picture: av.VideoFrame,
    stream: VideoStream,
    reformatter: VideoReformatter,
    size: tuple[int, int],
) -> Frames:
    quarters = round(picture.rotation / 90) % 4
    shape = (float(picture.height), picture.width * float(stream.sample_aspect_ratio or 1))
    if quarters % 2:
        shape = shape[::-1]
    scale = min(size[0] / shape[0], size[1] / shape[1])
    inner = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
    rows, columns = inner[::-1] if quarters % 2 else inner
    scaled = reformatter.reformat(
        picture, columns, rows, "rgb24", interpolation="AREA" if scale < 1 else "BICUBIC"
    )
    frame = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    frame[top : top + inner[0], left : left + inner[1]] = np.rot90(scaled.to_ndarray(), quarters)
    return frame


class FrameSource:
    """An endless stream of chunks out of a clip.

    Past its end the clip plays backwards, past its beginning forwards again, and so on (frames
    0 1 2 1 0 1 ...): motion stays continuous and no cut appears.
    """

    def __init__(self, clip: Clip, latents_per_chunk: int) -> None:
        assert latents_per_chunk >= 1
        self._clip = clip
        self._stride = TIME_STRIDE * latents_per_chunk

    def indices(self, chunk: int) -> NDArray[np.intp]:
        """Name the clip's frames, [T], that make up *chunk* 0, 1, ...; chunk 0 has one more."""
        assert chunk >= 0
        first = 1 + chunk * self._stride if chunk else 0
        last = len(self._clip.frames) - 1
        place = np.arange(first, 1 + (chunk + 1) * self._stride) % max(1, 2 * last)
        return np.minimum(place, 2 * last - place)

    def frames(self, chunk: int, *, leads: bool = False) -> Frames:
        """Copy the frames of *chunk*, uint8 [T, H, W, 3]; T is 1 + 4 T' for chunk 0, else 4 T'.

        With *leads* a later chunk has 1 + 4 T' frames too, beginning with the last one before it:
        the VAE's first chunk needs them when the camera's first chunks have been dropped.
        """
        indices = self.indices(chunk)
        if leads and chunk:
            indices = np.concatenate([self.indices(chunk - 1)[-1:], indices])
        return self._clip.frames[indices]
