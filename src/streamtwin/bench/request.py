"""What is timed: which passes and halves of the VAE, in which ways of running them?"""

from dataclasses import dataclass

from streamtwin.bench.speeds import MODES
from streamtwin.calibrate.cases import CalibrationRequest, Case, item_from
from streamtwin.core.deployment import STEP_TIMESTEPS
from streamtwin.core.errors import UserError
from streamtwin.core.plan import Plan, Stage

Resolution = tuple[int, int]


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """One model and VAE at one resolution (height, width in pixels) on one device.

    `rows` are the rows of the passes to time, `steps` the denoising steps to give frame rates
    for (a pass of as many rows each), `modes` the ways of running a pass, `attention` what
    computes it, as in a deployment.
    """

    model: str
    vae: str
    resolution: Resolution
    device: str = "cpu"
    rows: tuple[int, ...] = (1, 2, 3, 4)
    steps: tuple[int, ...] = (1, 2, 3, 4)
    modes: tuple[str, ...] = ("eager",)
    attention: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, counts in (("rows", self.rows), ("steps", self.steps)):
            if not counts or not all(1 <= count <= len(STEP_TIMESTEPS) for count in counts):
                given = ",".join(map(str, counts))
                raise UserError(f"--{name} {given}: give numbers from 1 to {len(STEP_TIMESTEPS)}")
        for mode in self.modes:
            if mode not in MODES:
                raise UserError(f"--mode {mode!r}: choose one of {', '.join(MODES)}")
            if MODES[mode].recorded and self.device == "cpu":
                raise UserError(f"--mode {mode} records CUDA graphs: it needs --device cuda")

    @property
    def label(self) -> str:
        """The request in a word or two."""
        height, width = self.resolution
        return f"{self.model} {height}x{width} on {self.device}"

    @property
    def plan(self) -> Plan:
        """One device that holds the whole model and as many KV rows as the largest pass has.

        Raises:
            UserError: model or VAE are unknown, or do not go together.
        """
        request = CalibrationRequest(
            self.model, self.vae, self.resolution, (1,), device=self.device, seed=self.seed
        )
        return request.plan(steps=max(self.rows + self.steps))

    def cases(self) -> list[Case]:
        """Passes of the whole model on a full window by rows and mode, and a steady VAE chunk."""
        plan = self.plan
        whole = Stage(0, range(plan.model.blocks), True, True, True, True)
        passes = [
            Case(plan.dit_pass(whole, item_from(plan, rows)), 1, mode)
            for mode in self.modes
            for rows in sorted({*self.rows, *self.steps})
        ]
        return [*passes, Case(plan.encode(1), 1), Case(plan.decode(1), 1)]
