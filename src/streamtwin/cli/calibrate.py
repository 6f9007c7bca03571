"""`streamtwin calibrate`: measure this host, fit, keep the profile; or check one that is kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamtwin.cli.calibrate_modes import check_profile, measure, tell
from streamtwin.cli.checks import check_budget
from streamtwin.cli.options import BudgetOption, DeviceOption, JsonOption
from streamtwin.cli.output import check_free, remark, show
from streamtwin.cli.sources import MoreRunsArgument, RunsOption, TraceOption, profile_from
from streamtwin.core.errors import UserError

if TYPE_CHECKING:
    from streamtwin.calibrate.grid import Grid

WAN_RESOLUTIONS = ("480x832", "512x512", "720x1280")
WAN_MODELS = ("wan2.1-1.3b", "wan2.1-14b")
"""What a card is measured with when nobody says."""


def calibrate(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="model; repeat [default: tiny; on cuda both Wan models]"),
    ] = None,
    vae: Annotated[
        list[str] | None,
        typer.Option("--vae", help="VAE; repeat [default: tiny; of Wan models, wan2.1 and taehv]"),
    ] = None,
    resolution: Annotated[
        list[str] | None,
        typer.Option(
            "--resolution",
            metavar="HEIGHTxWIDTH",
            help="pixels; repeat [default: 128x192; of Wan models, 480x832, 512x512, 720x1280]",
        ),
    ] = None,
    ranks: Annotated[
        list[int] | None,
        typer.Option("--ranks", help="ranks that compute at once; repeat [default: 1 and 2]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="profile folder [default: this host's]"),
    ] = None,
    budget_s: BudgetOption = None,
    device: DeviceOption = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be measured, and measure nothing")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="do not go on with a calibration that was stopped")
    ] = False,
    card: Annotated[
        str | None,
        typer.Option("--card", help="with --dry-run: the card of the catalogue to plan for"),
    ] = None,
    chunk_latents: Annotated[
        int, typer.Option("--chunk-latents", help="latent frames of a chunk, T'")
    ] = 1,
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="PROFILE", help="does this profile still hold here?"),
    ] = None,
    as_json: JsonOption = False,
    trace: TraceOption = None,
    runs: RunsOption = None,
    more_runs: MoreRunsArgument = None,
) -> None:
    """Measure kernels and hops on this host, fit latency models, write a profile."""
    from streamtwin.calibrate.locate import profile_path  # noqa: PLC0415
    from streamtwin.calibrate.run import default_budget_s, grid_name  # noqa: PLC0415

    if more_runs and not runs:
        raise UserError(f"{more_runs[0]}: calibrate takes folders with --from-runs only")
    given = {
        "--model": model, "--vae": vae, "--resolution": resolution, "--budget": budget_s,
        "--dry-run": dry_run, "--fresh": fresh, "--card": card, "--check": check,
        "--ranks": ranks, "--out": out, "--from-trace": trace, "--from-runs": runs,
        "--chunk-latents": chunk_latents != 1, "--device": device != "cpu",
    }  # fmt: skip
    _check_together(given)
    if trace is not None or runs:
        _learn(trace, [*(runs or ()), *(more_runs or ())], out, ranks or (), device, as_json)
        return
    check_budget(budget_s)
    if check is not None:
        check_profile(check, budget_s, as_json)
        return
    if not 1 <= chunk_latents <= MAX_CHUNK_LATENTS:
        raise UserError(f"--chunk-latents {chunk_latents}: give 1 to {MAX_CHUNK_LATENTS}")
    shared = _ranks(ranks, device, card)
    grid = _grid(model, vae, resolution, shared, device, card, chunk_latents)
    budget = default_budget_s(grid) if budget_s is None else budget_s
    folder = out or profile_path(grid_name(grid))
    if out is not None:
        check_free(out, ("meta.yaml",))
    if dry_run:
        tell(grid, budget, folder, as_json, card)
    else:
        measure(grid, budget, folder, fresh, as_json, asked=out is not None)


MAX_CHUNK_LATENTS = 64
"""More than any model's chunk has."""

ALONE: dict[str, frozenset[str]] = {
    "--from-trace": frozenset({"--ranks", "--out", "--device"}),
    "--from-runs": frozenset({"--out"}),
    "--check": frozenset({"--budget"}),
    "--fresh": frozenset({"--model", "--vae", "--resolution", "--budget", "--ranks", "--out",
                          "--chunk-latents", "--device"}),
}  # fmt: skip
"""Options that say what is done, and those that go with each."""


def _check_together(given: Mapping[str, object]) -> None:
    """Refuse options of which one would be ignored beside another.

    Raises:
        UserError: names both, and what goes together.
    """
    named = [name for name, value in given.items() if value not in (None, False, [])]
    for mode, fitting in ALONE.items():
        wrong = [name for name in named if name != mode and name not in fitting]
        if mode in named and wrong:
            raise UserError(
                f"{wrong[0]} does not go with {mode}, which takes {', '.join(sorted(fitting))}"
            )
    if "--card" in named and "--dry-run" not in named:
        raise UserError("--card goes with --dry-run: what is measured is the card that is there")


def _ranks(ranks: list[int] | None, device: str, card: str | None) -> tuple[int, ...]:
    """Numbers of ranks to compute at once, as far as *device* has room for them.

    Raises:
        UserError: there is no such device, or too few of it.
    """
    from streamtwin.calibrate.environment import usable_cores  # noqa: PLC0415
    from streamtwin.runtime.devices import check_device  # noqa: PLC0415

    if card is None:
        check_device(device, 1)
    elif device == "cpu":
        raise UserError("--card plans for a card: give --device cuda with it")
    shared = tuple(ranks or ((1, 2) if device == "cpu" else (1,)))
    if min(shared) < 1:
        raise UserError(f"--ranks {min(shared)}: give numbers of at least 1")
    if device == "cpu" and max(shared) > usable_cores():
        raise UserError(f"--ranks {max(shared)}: this host has {usable_cores()} cores")
    return shared


def _learn(
    trace: Path | None,
    runs: list[Path],
    out: Path | None,
    ranks: Sequence[int],
    device: str,
    as_json: bool,
) -> None:
    """Make a profile of what is there already, and show it."""
    from streamtwin.cli.calibrate_tables import profile_document, profile_table  # noqa: PLC0415

    profile, folder = profile_from(trace, runs, out, ranks, device)
    show(profile_document(profile, folder), [profile_table(profile)], as_json)
    remark(f"profile: {folder}")


def _grid(
    models: list[str] | None,
    vaes: list[str] | None,
    resolutions: list[str] | None,
    ranks: tuple[int, ...],
    device: str,
    card: str | None,
    chunk_latents: int,
) -> "Grid":
    """What the options name, and what goes without saying; for *card* if it is not here."""
    from streamtwin.calibrate.accelerator import card_count  # noqa: PLC0415
    from streamtwin.calibrate.grid import make_grid  # noqa: PLC0415
    from streamtwin.core.catalog import gpu  # noqa: PLC0415
    from streamtwin.runtime.devices import free_bytes  # noqa: PLC0415

    cuda = device != "cpu"
    chosen = models or (list(WAN_MODELS) if cuda else ["tiny"])
    tiny = chosen == ["tiny"]
    sizes = resolutions or (["128x192"] if tiny else list(WAN_RESOLUTIONS))
    return make_grid(
        chosen,
        vaes or (["tiny"] if tiny else ["wan2.1", "taehv"]),
        [_resolution(text) for text in sizes],
        lambda count: free_bytes(device, count) if card is None else gpu(card).memory_bytes,
        ranks=ranks,
        device=device,
        cards=card_count(device),
        chunk_latents=chunk_latents,
    )


def _resolution(text: str) -> tuple[int, int]:
    """Height and width of `HEIGHTxWIDTH`.

    Raises:
        UserError: the text is no such thing.
    """
    height, by, width = text.lower().partition("x")
    if not (by and height.isdecimal() and width.isdecimal()):
        raise UserError(f"--resolution {text!r}: give HEIGHTxWIDTH in pixels, as in 480x832")
    return int(height), int(width)
