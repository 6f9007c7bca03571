"""What many tests build: plans of the tiny model, and service times chosen by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from streamtwin.core.controller import Controller
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import HostState, Prediction, Provenance
from streamtwin.core.layout import lay_out
from streamtwin.core.ops import DitPass, Hop, Op, VaeDecode, VaeEncode
from streamtwin.core.plan import Plan
from streamtwin.core.records import Recorder
from streamtwin.core.replayed import PaceTrace
from streamtwin.core.ring import Item
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.turns import TakeBack, Turn, Wait

BY_HAND = Provenance("assumed", "test", "2026-01-01")
NOTHING_KNOWN = HostState()


@dataclass(frozen=True)
class FlatLatency:
    """Service times in seconds that depend on the kind of operation only."""

    encode_s: float = 0.02
    block_s: float = 0.01
    decode_s: float = 0.03
    hop_s: float = 0.005
    factors: tuple[float, ...] = ()
    between_rel_std: float = 0.0
    provenance: Provenance = BY_HAND
    pass_s: float = 0.0
    on: HostState = NOTHING_KNOWN

    def predict(self, op: Op) -> Prediction:
        match op:
            case VaeEncode():
                mean_s = self.encode_s
            case VaeDecode():
                mean_s = self.decode_s
            case Hop():
                mean_s = self.hop_s
            case DitPass():
                mean_s = self.pass_s + self.block_s * op.blocks
            case _:
                raise CalibrationError(f"nothing was measured of {op}")
        return Prediction(mean_s, 0.9 * mean_s, 1.1 * mean_s, self.provenance)

    def noise(self, op: Op) -> Sequence[float]:
        return self.factors

    def between(self, op: Op) -> float:
        return self.between_rel_std

    def host(self, rank: int) -> HostState:
        return self.on


def latencies(**own: st.SearchStrategy[Any]) -> st.SearchStrategy[FlatLatency]:
    """Service times about as long as real ones, and as unlike each other; *own* draws some its own way."""
    seconds, block_s = st.floats(0.001, 0.1), st.floats(0.001, 0.03)
    drawn = {"encode_s": seconds, "block_s": block_s, "decode_s": seconds}
    return st.builds(FlatLatency, **{**drawn, "hop_s": st.floats(0.0001, 0.02), **own})


def make_plan(**changes: Any) -> Plan:
    """A plan of the tiny model; keys are deployment's, workload's, or the scenario's own."""
    deployment = {"gpus", "steps", "stream_batch", "chunk_latents", "window", "sink", "partition"}
    deployment |= {"batching", "lanes", "protocol", "vae_placement", "decode", "wrap_activations"}
    deployment |= {"slowdown", "parallelism", "sequence_ranks", "hosts", "links", "replicas"}
    deployment |= {"router", "context", "reserve_bytes"}
    deployment |= {"cuda_graph", "compile", "attention"}
    workload = {"source_fps", "chunks", "max_waiting", "admission", "dispatch"}
    workload |= {"sessions", "visits", "arrivals", "classes", "phases", "camera", "motion", "entry"}
    workload |= {"duration_s"}
    data: dict[str, Any] = {"deployment": {}, "workload": {"chunks": 30}}
    for key, value in changes.items():
        if key in deployment or (key == "weights" and isinstance(value, str)):
            data["deployment"][key] = value
        elif key in workload:
            data["workload"][key] = value
        else:
            data[key] = value
    if "duration_s" in data["workload"]:
        del data["workload"]["chunks"]
    return lay_out(check_scenario(data, "test"))


def stream(plan: Plan, count: int) -> list[Item]:
    """The first *count* items that rank 0 sends when services take no time."""
    controller = Controller(plan, Recorder())
    items: list[Item] = []
    now_s = 0.0
    while len(items) < count:
        action = controller.next(now_s)
        if isinstance(action, Wait):
            now_s = action.until_s
            continue
        if isinstance(action, TakeBack):
            controller.ring.returned()
            continue
        assert isinstance(action, Turn), "the input is too short"
        item = controller.compose(action, controller.admit(action, now_s))
        while controller.ring.due():
            controller.ring.returned()
        controller.sent(item, action)
        items.append(item)
    return items


def normal(step_s: float, factors: Sequence[float]) -> PaceTrace:
    """The trace of *factors* up to a common one, such that in a round as much is done as without."""
    slowness = len(factors) / sum(1 / factor for factor in factors)
    return PaceTrace(step_s, tuple(factor / slowness for factor in factors))
