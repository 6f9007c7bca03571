"""What is run ahead of the clock, so that a steady stream meets no pass for the first time?"""

from collections.abc import Mapping

import torch

from streamtwin.core.repeats import steady_items
from streamtwin.kernels.stage import SessionState, StageKernels, Work


@torch.inference_mode()
def record_ahead(kernels: StageKernels, states: Mapping[int, SessionState]) -> None:
    """Record the passes that the sessions of *states* will repeat; leave these as they were.

    Their own states are used because a recording knows the addresses of their caches. Without
    recordings nothing is run.
    """
    plan, recorded = kernels.plan, kernels.passes.recorded
    if recorded is None:
        return
    model, size = plan.model, plan.scenario.size
    latents = plan.scenario.deployment.chunk_latents
    with recorded.recording():
        for item in steady_items(plan, sorted(states), recorded.limit):
            rows = len(item.rows)
            work = Work(
                kernels.zeros(rows, latents, model.latent_channels, *size.latent),
                tuple(kernels.timestep(row.step) for row in item.rows),
                kernels.zeros(rows, latents * size.tokens, model.dim),
            )
            kernels.run(states, item, work)
            for session in {row.session for row in item.rows}:
                states[session].cache.clear()
    kernels.synchronize()
