"""Modules built on the meta device get the storage that torch would give them, without its price."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from streamtwin.core import catalog
from streamtwin.core.specs import Resolution
from streamtwin.kernels.dit import DiTStage
from streamtwin.kernels.seeding import give_storage


def stage() -> nn.Module:
    spec = catalog.model("tiny")
    with torch.device("meta"):
        made = DiTStage(spec, Resolution(32, 48), range(2), embeds=True, heads_out=True)
        made.turned = nn.Parameter(torch.empty(3, 5).t(), requires_grad=False)
        made.register_buffer("count", torch.zeros(4, dtype=torch.long))
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_tensor_is_as_torch_makes_it(dtype: torch.dtype) -> None:
    ours = stage()
    torchs = copy.deepcopy(ours).to(dtype).to_empty(device="cpu")
    give_storage(ours, "cpu", dtype)
    for name, tensor in {**dict(torchs.named_parameters()), **dict(torchs.named_buffers())}.items():
        own = ours.get_parameter(name) if name in dict(ours.named_parameters()) else ours.count
        assert own.shape == tensor.shape, name
        assert own.stride() == tensor.stride(), name
        assert (own.dtype, own.device) == (tensor.dtype, tensor.device), name
        assert own.requires_grad == tensor.requires_grad, name
        assert type(own) is type(tensor), name
    assert ours.state_dict().keys() == torchs.state_dict().keys()


def test_a_rank_does_not_load_the_algebra_of_shapes() -> None:
    """It takes longer to load than all else that a rank does before its first chunk."""
    code = (
        "import sys, torch\n"
        "from builders import make_plan\n"
        "from streamtwin.kernels.stage import StageKernels\n"
        "from streamtwin.runtime.worker import warm_up\n"
        "plan = make_plan(resolution=[32, 48])\n"
        "warm_up(StageKernels(plan, plan.stages[0]))\n"
        "sys.exit('sympy' in sys.modules)\n"
    )
    paths = f"import sys; sys.path[:0] = {sys.path!r}\n"
    assert subprocess.run([sys.executable, "-c", paths + code], check=False).returncode == 0
