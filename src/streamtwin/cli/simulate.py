"""`streamtwin simulate`: what will this deployment do?"""

from typing import Annotated

import typer

from streamtwin.cli.options import (
    EngineOption,
    InputOption,
    JsonOption,
    OutOption,
    ScenarioArgument,
    SetOption,
)
from streamtwin.cli.options import overrides as given
from streamtwin.cli.output import remark, result_folder, show
from streamtwin.cli.variants import simulate_variants
from streamtwin.core.errors import UserError
from streamtwin.core.section import MAX_REPLICATIONS

ReplicationsOption = Annotated[
    int | None,
    typer.Option(
        "--replications",
        metavar="N",
        min=1,
        max=MAX_REPLICATIONS,
        help="runs whose scatter is shown, from 2 on [default: the scenario's replications]",
    ),
]
VariantsOption = Annotated[
    bool, typer.Option("--variants", help="predict every variant of SCENARIO, side by side")
]
SensitivityOption = Annotated[
    bool,
    typer.Option(
        "--sensitivity", help="what 10 % less time of each service, and each rank, would bring"
    ),
]


def simulate(
    scenario: ScenarioArgument,
    overrides: SetOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    video: InputOption = None,
    engine: EngineOption = "simpy",
    replications: ReplicationsOption = None,
    sensitivity: SensitivityOption = False,
    variants: VariantsOption = False,
) -> None:
    """Predict what SCENARIO does: frame rate, latency, and where the idle time goes."""
    from streamtwin.cli.predict import plan_of, predict, read_clip, typical_plan  # noqa: PLC0415
    from streamtwin.cli.profiles import profile_of  # noqa: PLC0415
    from streamtwin.cli.save import save_run  # noqa: PLC0415
    from streamtwin.cli.scatter import add_replications, add_sensitivity  # noqa: PLC0415
    from streamtwin.core.library import find_scenario  # noqa: PLC0415
    from streamtwin.reports.tables import metrics_tables  # noqa: PLC0415
    from streamtwin.runtime.run import motion_trace  # noqa: PLC0415
    from streamtwin.sim.engines import engine_named  # noqa: PLC0415

    chosen = engine_named(engine)
    if variants:
        if sensitivity or replications is not None:
            raise UserError("--variants goes with neither --sensitivity nor --replications")
        simulate_variants(scenario, given(overrides), out, video, as_json=as_json, engine=chosen)
        return
    asked = find_scenario(scenario, given(overrides))
    clip = read_clip(asked, video)
    folder = None if out is None else result_folder(out, asked.name, "simulate")
    profile = profile_of(asked)
    plan = plan_of(asked, profile)
    motion = motion_trace(clip, plan)
    plan = typical_plan(plan, profile, motion)
    records, metrics = predict(plan, profile, motion, chosen)
    count = asked.replications if replications is None else replications
    if count > 1:
        add_replications(metrics, plan, profile, motion, count)
    if sensitivity:
        add_sensitivity(metrics, plan, profile, motion)
    page = None if folder is None else save_run(folder, records, metrics, profile)
    show(metrics, metrics_tables(metrics), as_json)
    if page is not None:
        remark(f"report: {page}")
