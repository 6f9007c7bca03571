"""A stage pass never makes the host wait for the device, nor copies from the host by surprise."""

import pytest
import torch
from pass_cases import begin, recording, small_plan, some_work, stage
from torch.utils._python_dispatch import TorchDispatchMode

from builders import stream
from streamtwin.kernels.rehearsal import record_ahead

PLACES = ["alone", "first", "middle", "last"]
REFRESHED = {
    "sink_refresh": "kv_similarity",
    "sink_threshold": 0.98,
    "rope_refresh": "reset",
    "rope_threshold": 12,
}
STREAMS = {
    "one session": {},
    "two sessions": {"sessions": 2},
    "a batch of sessions": {"sessions": 2, "batching": {"batch": 2}},
    "a new prompt": {"visits": [{"prompts": {0: "rain", 6: "snow"}}]},
}


def check(func, args, kwargs, result):
    """Raise on operators whose result or shape the host must see, and on copies from the card."""
    for tag in (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape):
        assert tag not in func.tags, f"the host waits in {func}"
    involved = [x for x in (*args, *kwargs.values(), result) if isinstance(x, torch.Tensor)]
    # Numbers that go along as kernel arguments are tensors without dimensions on the host.
    devices = {x.device.type for x in involved if x.dim()}
    assert len(devices) < 2, f"{func} goes between {devices}"


class NoWaits(TorchDispatchMode):
    """Checks every operator."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(str(func))
        check(func, (), {}, None)
        result = func(*args, **(kwargs or {}))
        check(func, args, kwargs or {}, result)
        return result


@pytest.mark.parametrize(
    "cause", [lambda x: x.sum().item(), torch.nonzero, lambda x: bool(x.any())]
)
def test_the_guard_notices(cause):
    with NoWaits(), pytest.raises(AssertionError, match="the host waits"):
        cause(torch.ones(3))


def test_the_guard_notices_copies():
    with NoWaits(), pytest.raises(AssertionError, match="goes between"):
        torch.tensor([1.0, 2.0]).to("meta")
    with NoWaits(), pytest.raises(AssertionError, match="goes between"):
        torch.empty(3, device="meta").copy_(torch.empty(3))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("changes", STREAMS.values(), ids=list(STREAMS))
def test_no_pass_of_a_stream_waits(place, recorded, changes):
    plan = small_plan(conditioning=REFRESHED, **changes)
    sessions = plan.scenario.workload.sessions
    kernels = stage(plan, place)
    states = begin(kernels, sessions)
    if recorded:
        recording(kernels)
        record_ahead(kernels, states)
    replaced = 0
    for item in stream(plan, 30):
        work = some_work(plan, item)
        for state in states.values():
            for step in range(2):  # what earlier passes found; on a card it has long arrived
                state.cache.watch.read(step)
        for row in item.rows:  # how like a new prompt is to earlier ones: of tensors of the host
            kernels._text(states[row.session], row)
        with NoWaits() as guard:
            kernels.run(states, item, work)
        assert len(guard.seen) > 15
        replaced += sum(len(state.sinks.replaced) for state in states.values())
    assert replaced > 0
    assert not recorded or kernels.passes.recorded.replayed > 0


def to_meta(module, dtype):
    """Give *module* weights without values."""
    for part in module.modules():
        for name, value in part._parameters.items():
            empty = torch.empty(value.shape, device="meta", dtype=dtype)
            part._parameters[name] = torch.nn.Parameter(empty, requires_grad=False)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_of_a_pass_stays_on_the_host(place, dtype):
    """A device without values stands for a card: what lies on the host by mistake is another one."""
    restart = {"rope_refresh": "reset", "rope_threshold": 9}
    # further steps have noise drawn on the host, copied from pinned memory
    plan = small_plan(steps=1, conditioning=restart)
    kernels = stage(plan, place)
    state = kernels.new_session(0)
    kernels.device, kernels.dtype = torch.device("meta"), dtype
    to_meta(kernels.dit, dtype)
    for tensors in (state.cache, *state.texts.values()):
        for blocks in (tensors.k, tensors.v):
            blocks[:] = [block.to("meta", dtype) for block in blocks]
    for item in stream(plan, 14):
        work = some_work(plan, item)
        work.latents, work.hidden = work.latents.to("meta", dtype), work.hidden.to("meta", dtype)
        with NoWaits() as guard:
            done = kernels.run({0: state}, item, work)
        assert len(guard.seen) > 15
        assert {done.latents.device.type, done.hidden.device.type} == {"meta"}
        assert {done.latents.dtype, done.hidden.dtype} == {dtype}
