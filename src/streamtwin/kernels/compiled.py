"""How is what a block does around its attentions compiled?

The attentions themselves are a handful of copies into the cache and library calls: nothing for a
compiler to gain, and slots and lengths that change from pass to pass. What lies around them sees
rows and frames only, so a stream needs one version a row count, and one more for its first chunk.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from streamtwin.kernels.dit_layers import Block, BlockParts

Given = ParamSpec("Given")
Made = TypeVar("Made")


VERSIONS = 64
"""Shapes that each part may be compiled for."""


def compiled_parts(backend: str = "inductor") -> BlockParts:
    """The parts of a block, compiled by *backend* when they first meet a shape.

    Shapes are fixed in each version: a stream has few of them, and none comes up that its first
    items have not shown. All blocks of a model share the versions.
    """
    # One version a row count: a pass of many sessions' rows has more than PyTorch allows for.
    torch._dynamo.config.recompile_limit = VERSIONS

    def compiled(part: Callable[Given, Made]) -> Callable[Given, Made]:
        return torch.compile(part, fullgraph=True, dynamic=False, backend=backend)

    return BlockParts(
        compiled(Block.opening),
        compiled(Block.middle),
        compiled(Block.closing),
        real_rotations=True,
    )
