"""How much does each frame of a chunk move?"""

import numpy as np
import numpy.typing as npt

Motion = tuple[float, ...]
"""One number a frame of a chunk: how far it is from the frame before it."""


def chunk_motion(frames: npt.NDArray[np.uint8]) -> Motion:
    """RMS difference of each frame to the one before it, on pixels in [-1, 1].

    *frames* is uint8 [T, H, W, 3]. A chunk is measured by itself: its first frame counts as 0. The
    measure is that of StreamDiffusionV2's noise controller.
    """
    levels = frames.astype(np.float32)
    squares = np.square(levels[1:] - levels[:-1]).mean(axis=(1, 2, 3))
    return (0.0, *(float(root) / 127.5 for root in np.sqrt(squares)))
