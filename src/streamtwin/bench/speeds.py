"""In which ways can a pass be run?"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Mode:
    """How passes run: with compiled blocks, replayed from a recording, or neither."""

    compiled: bool
    recorded: bool


MODES: Mapping[str, Mode] = MappingProxyType(
    {
        "eager": Mode(compiled=False, recorded=False),
        "graph": Mode(compiled=False, recorded=True),
        "compiled": Mode(compiled=True, recorded=False),
        "compiled-graph": Mode(compiled=True, recorded=True),
    }
)
"""By name; `deployment.compile` and `deployment.cuda_graph` are the keys of a scenario."""
