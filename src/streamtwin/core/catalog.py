"""Which models, VAEs, GPUs and links are known?

Each is one YAML file in `scenarios/catalog/<kind>/`, named after it. Adding one is adding a file.
Models and VAEs are read once a process: fits and designs ask for them thousands of times.
"""

from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal, TypeVar

import yaml
from pydantic import TypeAdapter

from streamtwin.core.errors import UserError, unknown_name
from streamtwin.core.specs import ModelSpec, VaeSpec

Kind = Literal["models", "vaes", "gpus", "links"]


PRODUCT_SHARE = 0.8
"""Share of its data sheet that a large bf16 product reaches, where nobody has measured it: 0.80 on
an H100, 0.87 on an A100, 0.78 on a B200 (ml-engineering's measured ceilings)."""


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """A card's ceilings by its data sheet, and what was measured of them elsewhere.

    Rates in FLOP/s (bf16, dense) and bytes/s, memory in bytes, price in USD per hour.
    """

    name: str
    flops_bf16: float
    memory_bytes: float
    memory_bytes_per_s: float
    link: str
    source: str
    confidence: Literal["text", "secondary"]
    measured_flops_bf16: float | None = None
    price_usd_per_hour: float | None = None
    price_source: str | None = None
    device_names: tuple[str, ...] = ()
    """What a driver calls such cards, or a part of it."""

    @property
    def product_flops_per_s(self) -> float:
        """FLOP/s of a large bf16 product: measured, or the usual share of the data sheet."""
        return self.measured_flops_bf16 or PRODUCT_SHARE * self.flops_bf16


Confidence = Literal["measured", "text", "secondary", "assumed"]
"""Measured by us; read in the source's own text; somebody's transcription or report; our guess."""


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A link between two ranks: latency, one-way bandwidth, and what a receive costs the host.

    Bandwidth in bytes/s, times in seconds. `between`: cards of one host, hosts, or processes of one
    host. `peer_to_peer`: cards reach each other without the host's memory. `receive_s` is what a
    blocking receive takes of the host besides, where it is known.
    """

    name: str
    between: Literal["cards", "hosts", "processes"]
    bytes_per_s: float
    source: str
    confidence: Confidence
    latency_s: float
    latency_source: str
    latency_confidence: Confidence
    peer_to_peer: bool = True
    receive_s: float | None = None
    receive_source: str | None = None

    def __post_init__(self) -> None:
        assert self.bytes_per_s > 0, self
        assert self.latency_s >= 0, self
        assert (self.receive_s is None) == (self.receive_source is None), self

    def transfer_s(self, size_bytes: float) -> float:
        """Seconds from the first byte to the last: latency plus size over bandwidth."""
        return self.latency_s + size_bytes / self.bytes_per_s

    def hop_s(self, size_bytes: float) -> float:
        """Seconds that a blocking receive of *size_bytes* takes: the transfer and the host's part."""
        return self.transfer_s(size_bytes) + (self.receive_s or 0.0)


_Entry = TypeVar("_Entry", ModelSpec, VaeSpec, GpuSpec, LinkSpec)


def _folder(kind: Kind) -> Traversable:
    return files("streamtwin.scenarios") / "catalog" / kind


def names(kind: Kind) -> list[str]:
    """Names of all entries of *kind*, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in _folder(kind).iterdir()
        if entry.name.endswith(".yaml")
    )


def _load(kind: Kind, label: str, name: str, entry: type[_Entry]) -> _Entry:
    if name not in names(kind):
        raise UserError(unknown_name(label, name, names(kind)))
    data: dict[str, Any] = yaml.safe_load((_folder(kind) / f"{name}.yaml").read_text("utf-8"))
    known = {field.name for field in fields(entry)} - {"name"}
    assert data.keys() <= known, f"{kind}/{name}.yaml: unknown keys {data.keys() - known}"
    return TypeAdapter(entry).validate_python({"name": name, **data})


@cache
def model(name: str) -> ModelSpec:
    """The model *name*; UserError with the known names when there is none."""
    return _load("models", "model", name, ModelSpec)


@cache
def vae(name: str) -> VaeSpec:
    """The VAE *name*; UserError with the known names when there is none."""
    return _load("vaes", "VAE", name, VaeSpec)


def gpu(name: str) -> GpuSpec:
    """The card *name*; UserError with the known names when there is none."""
    return _load("gpus", "GPU", name, GpuSpec)


def gpu_called(device_name: str) -> GpuSpec | None:
    """The card that a driver calls *device_name*; None when it is not in the catalogue."""
    for card in map(gpu, names("gpus")):
        if any(known in device_name for known in card.device_names):
            return card
    return None


def link(name: str) -> LinkSpec:
    """The link *name*; UserError with the known names when there is none."""
    return _load("links", "link", name, LinkSpec)
