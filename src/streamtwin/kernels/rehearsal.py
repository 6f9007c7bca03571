"""What is run ahead of the clock, so that a stream meets no pass for the first time?"""

from contextlib import nullcontext

import torch

from streamtwin.core.repeats import opening_items
from streamtwin.kernels.stage import SessionState, StageKernels, Work


@torch.inference_mode()
def rehearse(kernels: StageKernels, state: SessionState) -> None:
    """Run the passes that a stream of *state* begins with and then repeats; leave it as it was.

    Whatever is compiled, recorded or chosen by trial for a pass is so afterwards. The session's
    own state is used because a recording knows the addresses of its cache.
    """
    plan, recorded = kernels.plan, kernels.recorded
    model, size = plan.model, plan.scenario.size
    with recorded.recording() if recorded is not None else nullcontext():
        for item in opening_items(plan, state.session):
            rows, latents = len(item.rows), plan.scenario.shape.latents_of(item.rows[0].ordinal)
            work = Work(
                kernels.zeros(rows, latents, model.latent_channels, *size.latent),
                tuple(kernels.timestep(row.step) for row in item.rows),
                kernels.zeros(rows, latents * size.tokens, model.dim),
            )
            kernels.run(state, item, work)
    state.cache.clear()
    kernels.synchronize()
