"""When are two videos of one stream the same?"""

from pathlib import Path

from streamtwin.runtime.video import read_frames


def assert_same_video(one: Path, other: Path) -> None:
    """The same frames were encoded.

    An encoder may choose otherwise for a frame on which no other depends (x264 does for about one
    in ten thousand); a stream that is another one differs in every frame from there on.
    """
    videos = [read_frames(path, 32, 48).frames.astype(float) for path in (one, other)]
    assert videos[0].shape == videos[1].shape
    apart = abs(videos[0] - videos[1]).mean(axis=(1, 2, 3))
    assert (apart > 0).sum() <= 3, f"frames {apart.nonzero()[0]} differ"
    assert apart.max() < 5
