"""What can be timed, predicted and simulated? Every service of the pipeline is one of these."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class DitPass:
    """One pass of a stage: `blocks` blocks over `rows` rows.

    A row has `chunk_latents` (T') latent frames of `tokens` (S) tokens each and attends
    `kv_tokens` (K) tokens. `embeds`: the stage embeds latents first; `unembeds`: it ends with
    the head, the x0 conversion and the re-noising of the rows.
    """

    model: str
    blocks: int
    rows: int
    chunk_latents: int
    tokens: int
    kv_tokens: float
    embeds: bool
    unembeds: bool

    @property
    def query_tokens(self) -> int:
        """Query tokens of all rows together."""
        return self.rows * self.chunk_latents * self.tokens


@dataclass(frozen=True, slots=True)
class VaeEncode:
    """Encoding of one chunk to `latents` latents, the noise mix included."""

    vae: str
    height: int
    width: int
    latents: int
    first: bool


@dataclass(frozen=True, slots=True)
class VaeDecode:
    """Decoding of one chunk of `latents` latents to pixels, handed to the output."""

    vae: str
    height: int
    width: int
    latents: int
    first: bool


@dataclass(frozen=True, slots=True)
class Hop:
    """Transfer of one item of `size_bytes` from a rank to the next."""

    size_bytes: int


Exchange = Literal["all_to_all", "ring_shift", "all_gather"]
"""What members of a stage do together: Ulysses' change of owners, Ring's step, the sinks' means."""


@dataclass(frozen=True, slots=True)
class Collective:
    """One exchange among the `members` of a stage, of which each gives `size_bytes`."""

    exchange: Exchange
    members: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Migration:
    """A block with its weights and KV, `size_bytes` together, goes from a rank to another."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Copy:
    """`size_bytes` go from the host to its device, or back."""

    direction: Literal["to_device", "to_host"]
    size_bytes: int


Op = DitPass | VaeEncode | VaeDecode | Hop | Collective | Migration | Copy

COMPUTED = (DitPass, VaeEncode, VaeDecode)
"""Operations that a rank computes by itself, on whose host's state they depend."""

Family = Literal["dit", "encode", "decode", "hop", "collective", "migration", "copy"]
"""Operations of one kind, which one fit covers and one word names."""

FAMILIES: Mapping[type[Op], Family] = MappingProxyType(
    {
        DitPass: "dit",
        VaeEncode: "encode",
        VaeDecode: "decode",
        Hop: "hop",
        Collective: "collective",
        Migration: "migration",
        Copy: "copy",
    }
)


def family_of(op: Op) -> Family:
    """The family of operations that *op* belongs to."""
    return FAMILIES[type(op)]
