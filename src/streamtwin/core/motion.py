"""How much does a chunk move?"""

import numpy as np
import numpy.typing as npt


def motion(frames: npt.NDArray[np.uint8]) -> float:
    """Largest RMS difference of consecutive frames, on pixels in [-1, 1].

    *frames* is uint8 [T, H, W, 3]. One frame alone does not move. The measure is that of
    StreamDiffusionV2's noise controller.
    """
    if len(frames) < 2:
        return 0.0
    small = frames.astype(np.float32)
    squares = np.square(small[1:] - small[:-1]).mean(axis=(1, 2, 3))
    return float(np.sqrt(squares.max())) / 127.5
