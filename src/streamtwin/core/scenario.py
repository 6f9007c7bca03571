"""What is asked? A deployment, its load and its promises, with every default written out."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from streamtwin.core.chunks import ChunkShape
from streamtwin.core.conditioning import Conditioning
from streamtwin.core.deployment import MAX_ROWS, Deployment
from streamtwin.core.errors import ScenarioError
from streamtwin.core.loss import check_losses
from streamtwin.core.policies.rope import PositionView
from streamtwin.core.promises import Slo, Viewer
from streamtwin.core.section import MAX_CHUNKS, MAX_REPLICATIONS, Section
from streamtwin.core.specs import Resolution
from streamtwin.core.trouble import Trouble, check_trouble
from streamtwin.core.weight_sources import Weights
from streamtwin.core.window import Window
from streamtwin.core.workload import LIKE_THE_OTHERS, Visit, Workload

Name = Annotated[str, Field(pattern=r"^\w[\w .,+=-]*$", max_length=80)]


class Scenario(Section):
    """A deployment, its load and what is promised of it."""

    name: Name = "unnamed"
    question: Annotated[str, Field(description="one sentence: what this scenario asks")] = ""
    model: str = "tiny"
    vae: str = "tiny"
    resolution: Annotated[
        tuple[int, int], Field(description="height, width of the video in pixels")
    ] = (128, 192)
    profile: Annotated[
        str, Field(description="latency profile; `host`: this machine, measured on demand")
    ] = "host"
    service_noise: Annotated[
        bool, Field(description="draw service times around their mean as the profile saw them")
    ] = True
    extrapolate: Annotated[
        bool, Field(description="allow predictions outside the calibrated range, marked as such")
    ] = False
    deployment: Deployment = Deployment()
    workload: Workload = Workload()
    conditioning: Conditioning = Conditioning()
    weights: Weights = Weights()
    slo: Slo = Slo()
    viewer: Viewer = Viewer()
    trouble: Trouble = Trouble()
    prices: Annotated[
        dict[Name, Annotated[float, Field(gt=0, le=1e6)]],
        Field(
            description="USD per hour of a card, by its name in the catalogue, before that one's"
        ),
    ] = Field({})
    seed: Annotated[int, Field(ge=0)] = 0
    replications: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_REPLICATIONS,
            description="runs that show how figures scatter; 1: the expected run alone",
        ),
    ] = 1
    variants: Annotated[
        dict[Name, list[str]],
        Field(description="named lists of key=value overrides that validate runs one by one"),
    ] = Field({})

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        deployment, workload = self.deployment, self.workload
        window = Window(deployment.window, deployment.sink)
        Resolution(*self.resolution)
        rows = deployment.batching.batch * (deployment.steps if deployment.stream_batch else 1)
        if rows > MAX_ROWS:
            raise ScenarioError(
                f"deployment.batching.batch = {deployment.batching.batch} with "
                f"{deployment.steps} steps makes passes of {rows} rows: at most {MAX_ROWS}"
            )
        if any(rank >= deployment.gpus for rank in deployment.slowdown):
            raise ScenarioError(
                f"deployment.slowdown = {deployment.slowdown}: with deployment.gpus = "
                f"{deployment.gpus} ranks are numbered 0 to {deployment.gpus - 1}"
            )
        check_trouble(self.trouble, deployment)
        check_losses(self.trouble.lost_ranks, deployment)
        if len(workload.visits) > workload.sessions:
            raise ScenarioError(
                f"workload.visits has {len(workload.visits)} entries for "
                f"workload.sessions = {workload.sessions}: give at most one a session"
            )
        windowed = deployment.context == "window"
        if windowed and deployment.chunk_latents > window.ring:
            raise ScenarioError(
                f"deployment.chunk_latents = {deployment.chunk_latents} does not fit the "
                f"{window.ring} rotating frames of window = {window.frames}, sink = {window.sink}"
            )
        if windowed and deployment.chunk_latents >= window.frames:
            raise ScenarioError(
                f"deployment.chunk_latents = {deployment.chunk_latents}: a stream's first chunk "
                f"has one latent more, which does not fit window = {window.frames}"
            )
        conditioning = self.conditioning
        if conditioning.rope_refresh != "never" and conditioning.rope_threshold < window.frames:
            raise ScenarioError(
                f"conditioning.rope_threshold = {conditioning.rope_threshold} must be at least "
                f"deployment.window = {window.frames}: positions restart behind the frames kept"
            )
        if workload.says_no_length:
            return self  # the trace says it of each session
        if (workload.duration_s is None) == (workload.chunks is None):
            raise ScenarioError(
                "workload: give exactly one of duration_s (seconds) and chunks, "
                f"not duration_s = {workload.duration_s} and chunks = {workload.chunks}"
            )
        if not 3 <= self.chunks <= MAX_CHUNKS:
            raise ScenarioError(
                f"workload.duration_s = {workload.duration_s} is {self.chunks} chunks of "
                f"{self.shape.frames_of(1)} frames at {self.playout_fps} frames/s: "
                f"it must be 3 to {MAX_CHUNKS}"
            )
        return self

    @property
    def shape(self) -> ChunkShape:
        """Numbering of frames, latents and chunks."""
        return ChunkShape(self.deployment.chunk_latents)

    @property
    def size(self) -> Resolution:
        """The video's resolution."""
        return Resolution(*self.resolution)

    @property
    def attention_window(self) -> Window:
        """The ring of K and V."""
        return Window(self.deployment.window, self.deployment.sink)

    def attended_frames(self, ordinal: int) -> int:
        """Latent frames that chunk number *ordinal* attends: those of the window, or its own."""
        [frames] = self.attended_by((ordinal,))
        return frames

    def attended_by(self, ordinals: Sequence[int]) -> list[int]:
        """The same of each of several chunks."""
        shape = self.shape
        if self.deployment.context == "chunk":
            return [shape.latents_of(each) for each in ordinals]
        window = self.attention_window
        return [window.filled(shape.first_latent(each + 1) - 1) for each in ordinals]

    def position_view(self, frame: int) -> PositionView:
        """What the position of the chunk whose first latent is *frame* may depend on."""
        deployment, threshold = self.deployment, self.conditioning.rope_threshold
        return PositionView(frame, deployment.window, deployment.chunk_latents, threshold)

    @property
    def chunks(self) -> int:
        """Chunks of each session's input."""
        if self.workload.chunks is not None:
            return self.workload.chunks
        assert self.workload.duration_s is not None
        return self.shape.chunks_in(1 + int(self.workload.duration_s * self.playout_fps))

    def visit(self, session: int) -> Visit:
        """How session number *session* differs from the others; not at all unless listed."""
        visits = self.workload.visits
        return visits[session] if 0 <= session < len(visits) else LIKE_THE_OTHERS

    def there_at_start(self, session: int) -> bool:
        """Whether that session begins with the run and nobody has to let it in."""
        everybody = self.workload.entry.policy == "accept_all"
        return everybody and self.visit(session).join_s == 0

    def chunks_of(self, session: int) -> int:
        """Chunks of that session's input."""
        return self.visit(session).chunks or self.chunks

    @property
    def all_chunks(self) -> int:
        """Chunks of the inputs of all sessions."""
        return sum(self.chunks_of(session) for session in range(self.workload.sessions))

    def noise_key(self, session: int) -> int:
        """What its random numbers are drawn with, beside the seed."""
        key = self.visit(session).noise_key
        return session if key is None else key

    def prompt_of(self, session: int, chunk: int) -> str:
        """Prompt of that session's chunk number *chunk*."""
        prompts = self.visit(session).prompts
        begun = [first for first in prompts if first <= chunk]
        return prompts[max(begun)] if begun else self.conditioning.prompt

    @property
    def prompts(self) -> set[str]:
        """Every prompt of every session."""
        sessions = range(self.workload.sessions)
        return {text for session in sessions for text in self.prompts_by_number(session)}

    def prompt_number(self, session: int, chunk: int) -> int:
        """How many changes of prompt come before that chunk's."""
        return sum(1 for first in self.visit(session).prompts if 0 < first <= chunk)

    def prompts_by_number(self, session: int) -> list[str]:
        """That session's prompts in the order of their changes."""
        prompts = self.visit(session).prompts
        changes = sorted(first for first in prompts if first > 0)
        return [self.prompt_of(session, 0), *(prompts[first] for first in changes)]

    def prompts_after(self, session: int, chunk: int) -> set[str]:
        """Prompts that chunks after number *chunk* of that session have."""
        later = {text for first, text in self.visit(session).prompts.items() if first > chunk}
        return later | {self.prompt_of(session, chunk)}

    @property
    def playout_fps(self) -> float:
        """Rate at which the viewer plays: the input's own, or the promised one."""
        return self.workload.source_fps or self.slo.fps
