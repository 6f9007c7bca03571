"""How do the frames of a video file become the chunks of a stream, and chunks a video file again?

Pixels are RGB. Frames are uint8 [F, H, W, 3]; what the VAE takes is float32 [3, T, H, W].
"""

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.container
import numpy as np
from av.stream import Disposition
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    VideoReformatter,
)
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamtwin.core.errors import UserError
from streamtwin.core.specs import TIME_STRIDE

Frames = NDArray[np.uint8]
Pixels = NDArray[np.float32]

MIB = 2**20

MAX_RATE_DENOMINATOR = 1001
"""That of the NTSC rates, 30000/1001 and its kin; a container stores no arbitrary rate."""

ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18"},  # near transparent
    "libopenh264": {"qmin": "10", "qmax": "24"},
    "mpeg4": {"qmin": "2", "qmax": "4"},
}
"""What an .mp4 is encoded with, and how well: the first of these that this build of av has."""


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
    """Packets that did not decode and pictures marked as damaged; none of them is in `frames`."""


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
    """Yield each picture, and None for each packet that cannot be read or decoded."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:  # nothing can be read past this point
            yield None
            return
        try:
            yield from stream.decode(packet)
        except av.FFmpegError:
            yield None


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


def normalise(frames: Frames) -> Pixels:
    """Turn uint8 [T, H, W, 3] into contiguous float32 [3, T, H, W] in [-1, 1]."""
    # Gathering bytes by channel first moves a quarter of what gathering floats would.
    planes = np.empty((3, *frames.shape[:3]), np.uint8)
    for channel in range(3):
        planes[channel] = frames[..., channel]
    pixels = np.multiply(planes, np.float32(1 / 127.5), dtype=np.float32)
    pixels -= 1
    return pixels


def to_uint8(pixels: NDArray[np.floating]) -> Frames:
    """Turn finite floats [3, T, H, W] into uint8 [T, H, W, 3]; outside [-1, 1] is cut off."""
    frames = np.empty((*pixels.shape[1:], 3), np.uint8)
    for index in range(pixels.shape[1]):  # a frame at a time stays in the cache
        levels = pixels[:, index] * np.float32(127.5)
        levels += 128  # 127.5 for the offset, 0.5 so that cutting the fraction off rounds
        planes = np.clip(levels, 0, 255, out=levels).astype(np.uint8)
        for channel in range(3):
            frames[index, ..., channel] = planes[channel]
    return frames


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

    def frames(self, chunk: int) -> Frames:
        """Copy the frames of *chunk*, uint8 [T, H, W, 3]; T is 1 + 4 T' for chunk 0, else 4 T'."""
        return self._clip.frames[self.indices(chunk)]


class VideoSpool:
    """A raw file of frames that grows while a stream runs; `encode_spool` makes a video of it.

    Encoding would take time from the device that is measured; appending costs one copy. What was
    appended survives the process.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def append(self, frames: Frames) -> None:
        """Write uint8 [T, H, W, 3]; all calls must agree on H and W."""
        assert frames.dtype == np.uint8
        assert frames.ndim == 4
        assert frames.shape[-1] == 3
        self._file.write(np.ascontiguousarray(frames).data)
        self._file.flush()

    def close(self) -> None:
        """Close the file; the spool takes no more frames."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def encode_spool(spool_path: Path, height: int, width: int, fps: float, out: Path) -> int:
    """Encode what a `VideoSpool` wrote into the .mp4 file *out*; return the number of frames.

    A last frame that was cut short is left out. Without a whole frame no file is written. Raises
    UserError when the spool cannot be read, and as `write_video` does.
    """
    frame_bytes = height * width * 3
    try:
        count = spool_path.stat().st_size // frame_bytes
        if not count:
            return 0
        spool = np.memmap(spool_path, np.uint8, "r", shape=(count, height, width, 3))
    except OSError as error:
        raise UserError(f"{spool_path}: cannot read the frames: {error.strerror}") from error
    return write_video(spool, fps, out)


def write_video(
    frames: Iterable[Frames], fps: float, out: Path, options: dict[str, str] | None = None
) -> int:
    """Encode *frames*, each uint8 [H, W, 3], at *fps* into the .mp4 file *out*; return how many.

    The *options* are the encoder's. Without a frame no file is written. Raises UserError when H or
    W is odd, when *fps* is not positive, or when *out* cannot be written.
    """
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        return 0
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise UserError(
            f"{out}: cannot encode {height} x {width} pixels; height and width must be even"
        )
    if not (math.isfinite(fps) and fps >= 1 / MAX_RATE_DENOMINATOR):
        raise UserError(f"{out}: cannot encode {fps} frames per second; fps must be positive")
    name = _encoder(out)
    try:
        with av.open(
            f"file:{out}", "w", format="mp4", options={"fflags": "+bitexact"}
        ) as container:
            rate = Fraction(fps).limit_denominator(MAX_RATE_DENOMINATOR)
            stream = container.add_stream(
                name, rate, ENCODERS[name] if options is None else options
            )
            assert isinstance(stream, VideoStream)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            return _encode(container, stream, chain([first], remaining))
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{out}: cannot write the video: {error.strerror or error}") from error


def _encoder(out: Path) -> str:
    names = [name for name in ENCODERS if name in av.codecs_available]
    if not names:
        raise UserError(f"{out}: this build of av has none of the encoders {', '.join(ENCODERS)}")
    if names[0] == "mpeg4":
        # Fewer programs play it than the user expects; let nobody wonder why.
        message = f"{out}: this build of av has no H.264 encoder; writing MPEG-4 part 2"
        warnings.warn(message, stacklevel=3)
    return names[0]


def _encode(
    container: av.container.OutputContainer, stream: VideoStream, frames: Iterable[Frames]
) -> int:
    # Untagged video is played with the matrix of whatever standard a player guesses.
    codec = stream.codec_context
    codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    reformatter = VideoReformatter()
    count = 0
    for frame in frames:
        picture = reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame)),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation="AREA",
        )
        picture.pts = count
        container.mux(stream.encode(picture))
        count += 1
    container.mux(stream.encode(None))
    return count
