"""`streamtwin simulate --variants`: all variants of a scenario, side by side."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamtwin.cli.naming import naming
from streamtwin.cli.output import progress, remark, result_folder, show
from streamtwin.core.errors import UserError
from streamtwin.core.library import find_variants
from streamtwin.core.records import Records
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.core.plan import Plan
    from streamtwin.reports.variants import Variant
    from streamtwin.runtime.video import Clip
    from streamtwin.sim.engines import Engine

Ready = tuple["Plan", "Profile"]
Simulated = tuple[Records, dict[str, Any]]


def simulate_variants(
    argument: str,
    overrides: tuple[str, ...],
    out: Path | None,
    video: Path | None,
    *,
    as_json: bool,
    engine: "Engine",
) -> None:
    """Predict every variant of the scenario *argument*, and show them beside each other.

    Raises:
        UserError: it has no variants.
        StreamtwinError: one of them cannot be simulated; says which, before any is simulated.
    """
    from streamtwin.cli.predict import read_clip  # noqa: PLC0415
    from streamtwin.reports.variants_page import variants_table  # noqa: PLC0415

    variants = find_variants(argument, overrides)
    asked = next(iter(variants.values()))
    if not asked.variants:
        raise UserError(f"{argument}: --variants: the scenario has none; write some under variants")
    for label, one in variants.items():
        if one.replications > 1:
            raise UserError(
                f"{argument}: variant {label!r}: --variants shows expected runs, not the "
                f"{one.replications} replications asked for; set replications=1"
            )
    clips = {one.resolution: read_clip(one, video) for one in variants.values()}
    ready = {label: _ready(label, one, engine) for label, one in variants.items()}
    folder = None if out is None else result_folder(out, asked.name, "simulate")
    runs = _simulate_all(ready, clips, engine)
    views = _views(runs)
    document = {
        "schema": 1,
        "variants": [{"label": v.label, **v.metrics, "limit": v.limit} for v in views],
    }
    show(document, [variants_table(asked.name, views)], as_json)
    if folder is not None:
        remark(f"report: {_save(folder, asked, views, runs, document)}")


def _ready(label: str, one: Scenario, engine: "Engine") -> Ready:
    """The variant laid out and checked, on the profile that it names."""
    from streamtwin.cli.predict import plan_of  # noqa: PLC0415
    from streamtwin.cli.profiles import latency_of, profile_of  # noqa: PLC0415
    from streamtwin.sim.replicas import check_deployment  # noqa: PLC0415

    with naming(f"variant {label!r}"):
        profile = profile_of(one)
        plan = plan_of(one, profile)
        check_deployment(plan, latency_of(profile, one), engine)
    return plan, profile


def _simulate_all(
    ready: Mapping[str, Ready], clips: Mapping[tuple[int, int], "Clip"], engine: "Engine"
) -> dict[str, Simulated]:
    """Records and metrics of every variant."""
    from streamtwin.cli.predict import predict, typical_plan  # noqa: PLC0415
    from streamtwin.runtime.run import motion_trace  # noqa: PLC0415

    runs = {}
    with progress("predicting", len(ready)) as bar:
        for done, (label, (plan, profile)) in enumerate(ready.items()):
            bar.at(done, f"predicting {label}")
            motion = motion_trace(clips[plan.scenario.resolution], plan)
            with naming(f"variant {label!r}"):
                told = typical_plan(plan, profile, motion)
                runs[label] = predict(told, profile, motion, engine)
        bar.at(len(ready))
    return runs


def _views(runs: Mapping[str, Simulated]) -> "list[Variant]":
    from streamtwin.reports.variants import variant_of  # noqa: PLC0415

    return [variant_of(label, records, metrics) for label, (records, metrics) in runs.items()]


def _save(
    folder: Path,
    asked: Scenario,
    views: "list[Variant]",
    runs: Mapping[str, Simulated],
    document: Mapping[str, Any],
) -> Path:
    """Write the page, the figures as JSON, and every run in a folder of its own."""
    from streamtwin.cli.save import scenario_yaml  # noqa: PLC0415
    from streamtwin.cli.trials import slug  # noqa: PLC0415
    from streamtwin.reports.store import write_run  # noqa: PLC0415
    from streamtwin.reports.variants_page import render_variants  # noqa: PLC0415
    from streamtwin.reports.whole_file import write_text  # noqa: PLC0415

    for number, (label, (records, metrics)) in enumerate(runs.items(), 1):
        write_run(folder / f"{number}-{slug(label)}", records, metrics, scenario_yaml(records))
    write_text(folder / "variants.json", json.dumps(document, indent=2))
    text = scenario_yaml(next(iter(runs.values()))[0])
    page = folder / "report.html"
    write_text(page, render_variants(asked.name, asked.question, views, asked.variants, text))
    return page
