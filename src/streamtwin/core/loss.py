"""When does a rank die, and how is it replaced? When does a pipeline start cold?

A ring stops as a whole: in torch.distributed whoever waits for a dead rank waits for ever, and NCCL
needs its communicators made anew. What others hold stays where it is, unless all are started again.
How long a death goes unseen depends on how it is looked for. torchrun's agent asks its host's
processes every 0.1 s whether they live (`monitor_interval`, PyTorch 2.13); a rank that hangs is
found by the timeout of its process group, 600 s with NCCL (`init_process_group`). That agent then
starts all ranks of the job again: `restarts: all`.
"""

from typing import Annotated, Literal

from pydantic import Field

from streamtwin.core.deployment import Deployment
from streamtwin.core.errors import ScenarioError
from streamtwin.core.section import Seconds, Section

BytesPerSecond = Annotated[float, Field(ge=1, allow_inf_nan=False)]

WHY: dict[str, str] = {
    "detect_s": "torchrun's agent looks that often",
    "start_s": "interpreter, libraries, CUDA context, communicators: our guess",
    "load_bytes_per_s": "safetensors from a cloud's SSD: 0.3e9 read in turn, 1.1e9 read at once "
    "(Run:ai Model Streamer, 2024)",
    "restore_bytes_per_s": "a copy in the host's memory over PCI Express 4.0 x16, 32e9 by its "
    "specification",
}
"""Where the defaults come from. All are assumptions about somebody else's machine."""


class ColdStart(Section):
    """A process that begins without weights: `start_s` until it can load them, then their bytes."""

    start_s: Annotated[
        Seconds, Field(description="until it can load weights: process, card, communicators")
    ] = 10.0
    load_bytes_per_s: Annotated[
        BytesPerSecond,
        Field(description="at which a rank loads its weights, all ranks side by side"),
    ] = 1e9


class LostRank(ColdStart):
    """A rank that dies, and its replacement. From `at_s` until it goes on nothing of its ring does.

    `lost`: every session of the pipeline begins again without context, and what was under way is
    lost. `restored`: a copy of the caches that the dead rank kept, as they were when the latest
    chunk left, is brought back; what was under way is done again. What waits at the door stays
    there in both cases, and cameras go on. Of replicas the others notice nothing, and sessions stay
    with their own; `rank` counts through all copies.
    """

    rank: Annotated[int, Field(ge=0, description="of W ranks a copy, rank i W + r is r of copy i")]
    at_s: Annotated[Seconds, Field(description="of its death, since the start of the stream")]
    detect_s: Annotated[Seconds, Field(description="until somebody notices")] = 0.1
    state: Annotated[
        Literal["lost", "restored"],
        Field(description="sessions begin again without context, or their caches are brought back"),
    ] = "lost"
    restarts: Annotated[
        Literal["rank", "all"],
        Field(description="the dead rank, or all of its ring: every rank loads its weights again"),
    ] = "rank"
    restore_bytes_per_s: Annotated[
        BytesPerSecond, Field(description="at which a rank's caches are brought back")
    ] = 25e9


def check_losses(lost_ranks: list[LostRank], deployment: Deployment) -> None:
    """Refuse deaths of ranks that *deployment* does not have, and where blocks may be on their way.

    Raises:
        ScenarioError: names the key and what there is.
    """
    ranks = deployment.gpus * deployment.replicas
    for number, lost in enumerate(lost_ranks):
        if lost.rank >= ranks:
            copies = f" and replicas = {deployment.replicas}" if deployment.replicas > 1 else ""
            raise ScenarioError(
                f"trouble.lost_ranks.{number}.rank = {lost.rank}: with deployment.gpus = "
                f"{deployment.gpus}{copies} ranks are numbered 0 to {ranks - 1}"
            )
    partition = deployment.partition
    if lost_ranks and (partition.trigger != "never" or partition.schedule):
        moves = (
            "schedule"
            if partition.schedule
            else f"policy = {partition.policy!r}, by which blocks move {partition.trigger}"
        )
        raise ScenarioError(
            f"trouble.lost_ranks with deployment.partition.{moves}: blocks that are on their way when "
            "a rank dies belong to nobody; let blocks stay (partition.rebalance: never, no schedule)"
        )
