"""How are the halves of a block compiled?

What lies between them, writing and attending the cache, is a handful of copies and one library
call: nothing for a compiler to gain, and shapes and slots that change from pass to pass. The
halves see rows and frames only, so a stream needs one version a row count, and one more for its
first chunk.
"""

import torch

from streamtwin.kernels.dit_layers import Block, BlockParts


def compiled_parts(backend: str = "inductor") -> BlockParts:
    """The halves of a block, compiled by *backend* when they first meet a shape.

    Shapes are fixed in each version: a stream has few of them, and none comes up that its first
    items have not shown. All blocks of a model share the versions.
    """
    return BlockParts(
        torch.compile(Block.opening, fullgraph=True, dynamic=False, backend=backend),
        torch.compile(Block.closing, fullgraph=True, dynamic=False, backend=backend),
        real_rotations=True,
    )
