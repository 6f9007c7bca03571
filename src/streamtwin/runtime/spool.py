"""Where do emitted frames go, and how do they become a video file?

Pixels are RGB, frames uint8 [H, W, 3].
"""

import math
import warnings
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.container
import numpy as np
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    VideoReformatter,
)
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamtwin.core.errors import RunError, UserError
from streamtwin.core.memory import MIB

Frames = NDArray[np.uint8]

MAX_RATE_DENOMINATOR = 1001
"""That of the NTSC rates, 30000/1001 and its kin; a container stores no arbitrary rate."""

ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18"},  # near transparent
    "libopenh264": {"qmin": "10", "qmax": "24"},
    "mpeg4": {"qmin": "2", "qmax": "4"},
}
"""What an .mp4 is encoded with, and how well: the first of these that this build of av has."""


class VideoSpool:
    """A raw file of frames that grows while a stream runs; `encode_spool` makes a video of it.

    Encoding would take time from the device that is measured; appending costs one copy. What was
    appended survives the process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb", buffering=0)

    def append(self, frames: Frames) -> None:
        """Write uint8 [T, H, W, 3]; all calls must agree on H and W.

        Raises:
            RunError: there is no room for them; what fitted stays.
        """
        assert frames.dtype == np.uint8
        assert frames.ndim == 4
        assert frames.shape[-1] == 3
        left = np.ascontiguousarray(frames).data.cast("B")
        try:
            while left:  # a disk that fills up takes a part first and refuses the rest
                left = left[self._file.write(left) :]
        except OSError as error:
            raise RunError(
                f"{self._path}: cannot hold another {frames.nbytes / MIB:.1f} MiB of emitted "
                f"frames: {error.strerror}; set TMPDIR to a folder with more room"
            ) from error

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


class Spools:
    """A spool for each session, opened with its first frames."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[int, VideoSpool] = {}

    def append(self, session: int, frames: Frames) -> None:
        """Write *frames*, uint8 [T, H, W, 3], of *session*."""
        if session not in self._open:
            self._open[session] = VideoSpool(spool_path(self.folder, session))
        self._open[session].append(frames)

    def close(self) -> None:
        """Close all files."""
        for spool in self._open.values():
            spool.close()


def spool_path(folder: Path, session: int) -> Path:
    """The raw file of *session*'s frames in *folder*."""
    return folder / f"session-{session}.rgb"


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
        for plane in picture.planes:  # encoders read beyond the picture; what lies there is chance
            whole = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]
            whole.reshape(-1, plane.line_size)[:, plane.width :] = 0
        picture.pts = count
        container.mux(stream.encode(picture))
        count += 1
    container.mux(stream.encode(None))
    return count
