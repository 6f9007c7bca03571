"""How is a pipeline laid over ranks? The scenario's section on it."""

from typing import Annotated, Literal

from pydantic import Field

from streamtwin.core.choices import OneOf
from streamtwin.core.partition import Partition
from streamtwin.core.policies.batching import BATCHING
from streamtwin.core.protocol import Layout
from streamtwin.core.section import Section

MAX_ROWS = 20
"""Most rows of one pass: steps times batch. What the header of an item has room for."""

STEP_TIMESTEPS = (700, 500, 400, 200)
"""Denoising timesteps of the reference configuration; N steps use the first N."""


class Batching(Section):
    """How many waiting chunks a lane takes in at a turn."""

    policy: Annotated[str, OneOf(BATCHING)] = "fixed"
    batch: Annotated[
        int, Field(ge=1, le=MAX_ROWS, description="most chunks, of different sessions, a turn")
    ] = 1


class Deployment(Layout):
    """How the pipeline is laid over ranks."""

    steps: Annotated[
        int, Field(ge=1, le=len(STEP_TIMESTEPS), description="denoising steps N a chunk")
    ] = 2
    chunk_latents: Annotated[int, Field(ge=1, description="latent frames T' a chunk")] = 1
    stream_batch: Annotated[
        bool, Field(description="one pass carries a row per step; off: N passes a chunk")
    ] = True
    partition: Partition = Partition()
    lanes: Annotated[
        Literal["time", "sessions"],
        Field(
            description="what fills the lanes: chunks of all sessions in turn, or a session each"
        ),
    ] = "time"
    batching: Batching = Batching()
    slowdown: Annotated[
        dict[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=1, le=1000)]],
        Field(description="factor by which a rank's services take longer: a throttled card"),
    ] = Field({})
    window: Annotated[int, Field(ge=2, description="latent frames of K and V kept")] = 6
    sink: Annotated[int, Field(ge=0, description="of these, frames kept as anchors")] = 3
    cuda_graph: Annotated[
        bool, Field(description="replay recorded passes instead of launching kernel by kernel")
    ] = False
    compile: Annotated[
        bool, Field(description="compile what a block does around its attention (torch.compile)")
    ] = False
    attention: Annotated[
        Literal["auto", "fa3", "cudnn", "flash", "efficient", "math"],
        Field(description="what computes attention; auto: the fastest that the device has"),
    ] = "auto"
