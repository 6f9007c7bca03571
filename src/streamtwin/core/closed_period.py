"""How long is a period, in closed form, where services take the same time at every turn?

P is the longest of what each rank does for an item, of the lanes' way round, and of the camera's time
for a chunk. Of W ranks with blocks, encoding e, decoding v, passes d_r, and hops x that the receiver
pays:

    P = max(e + d_0 + x, x + d_r, x + d_(W-1) + v, (W x + sum of d_r for r >= 1) / (W - 1))

W - 1 items are under way at most, hence the last term; decoding before sending adds v to it. One
rank alone takes e + d_0 + v.
"""

from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan
from streamtwin.core.repeats import steady_items

ROUND_TRIP = "round trip"
CAMERA = "camera"


def period_terms(plan: Plan, latency: LatencyModel) -> dict[str, float] | None:
    """What may set the pace, by name (`rank 0`, ..., `round trip`, `camera`), in s a chunk.

    None for deployments that the formula does not cover: other protocols, several sessions, passes
    that are shared or take a chunk's steps in turn, blocks that move, VAE ranks of their own.
    """
    if not _covered(plan):
        return None
    item = steady_items(plan, [0], 1)[0]
    slower = plan.scenario.deployment.slowdown
    passes_s = [
        latency.predict(plan.dit_pass(stage, item)).mean_s * slower.get(stage.rank, 1.0)
        for stage in plan.stages
    ]
    last = len(plan.stages) - 1
    encode_s = latency.predict(plan.encode(1)).mean_s * slower.get(0, 1.0)
    decode_s = latency.predict(plan.decode(1)).mean_s * slower.get(last, 1.0)
    hops_s = {edge.receiver: latency.predict(plan.hop(item, edge)).mean_s for edge in plan.edges}
    terms = {f"rank {r}": hops_s.get(r, 0.0) + pass_s for r, pass_s in enumerate(passes_s)}
    terms["rank 0"] += encode_s
    terms[f"rank {last}"] += decode_s
    if last > 0:
        decodes_first = plan.scenario.deployment.decodes_before_send
        way_s = sum(hops_s.values()) + sum(passes_s[1:]) + decode_s * decodes_first
        terms[ROUND_TRIP] = way_s / last
    source_fps = plan.scenario.workload.source_fps
    if source_fps is not None:
        terms[CAMERA] = plan.scenario.shape.frames_of(1) / source_fps
    return terms


def _covered(plan: Plan) -> bool:
    deployment, workload = plan.scenario.deployment, plan.scenario.workload
    partition = deployment.partition
    return (
        deployment.stream_batch
        and not deployment.overlaps
        and not deployment.dedicated
        and deployment.members == 1
        and workload.sessions == 1
        and partition.trigger == "never"
        and not partition.schedule
    )
