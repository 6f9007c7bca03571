"""`streamtwin catalog` and `streamtwin schema`: what is known, and what may be asked?"""

import json
from dataclasses import asdict
from typing import Any

from streamtwin.cli.options import JsonOption
from streamtwin.cli.output import show

RESOLUTIONS = {"tiny": ((128, 192),)}
"""Where a row's costs are shown, for models that are not made for the sizes below."""

WAN_RESOLUTIONS = ((480, 832), (512, 512))
"""Height and width of the published figures."""


def catalog(as_json: JsonOption = False) -> None:
    """List models, VAEs, GPUs, links, profiles and scenarios, with their sources."""
    document = _document()
    show(document, [_table(kind, rows) for kind, rows in document.items() if rows], as_json)


def schema() -> None:
    """Print the JSON schema of scenario files, with every default."""
    from streamtwin.core.scenario import Scenario  # noqa: PLC0415

    print(json.dumps(Scenario.model_json_schema(), indent=2))


def _document() -> dict[str, list[dict[str, Any]]]:
    from streamtwin.calibrate.locate import list_profiles  # noqa: PLC0415
    from streamtwin.core import catalog as known  # noqa: PLC0415
    from streamtwin.core.library import find_scenario, shipped_names  # noqa: PLC0415
    from streamtwin.core.row_costs import row_costs  # noqa: PLC0415
    from streamtwin.core.specs import Resolution  # noqa: PLC0415

    models = [known.model(name) for name in known.names("models")]
    return {
        "models": [
            {**asdict(one), "dim": one.dim, "parameters": one.parameters,
             "block_parameters": one.block_parameters}
            for one in models
        ],
        "costs of a row": [
            {"resolution": f"{size[0]}x{size[1]}", **asdict(row_costs(one, Resolution(*size)))}
            for one in models
            for size in RESOLUTIONS.get(one.name, WAN_RESOLUTIONS)
        ],
        "vaes": [asdict(known.vae(name)) for name in known.names("vaes")],
        "gpus": [asdict(known.gpu(name)) for name in known.names("gpus")],
        "links": [asdict(known.link(name)) for name in known.names("links")],
        "profiles": [_profile(name) for name in list_profiles()],
        "scenarios": [
            {"name": name, "question": find_scenario(name).question} for name in shipped_names()
        ],
    }  # fmt: skip


def _profile(name: str) -> dict[str, Any]:
    """What a profile says of itself; of one that cannot be read, why."""
    from streamtwin.calibrate.locate import find_profile  # noqa: PLC0415
    from streamtwin.calibrate.profile import read_profile  # noqa: PLC0415
    from streamtwin.calibrate.summary import summary_of  # noqa: PLC0415
    from streamtwin.core.errors import CalibrationError  # noqa: PLC0415

    try:
        profile = read_profile(find_profile(name))
    except CalibrationError as error:
        return {"name": name, "kind": "cannot be read", "source": str(error)}
    return summary_of(profile)


COLUMNS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "models": (
        ("name", "model", 0),
        ("blocks", "blocks", 1),
        ("dim", "width", 1),
        ("heads", "heads", 1),
        ("ffn_dim", "FFN width", 1),
        ("parameters", "parameters, M", 1e6),
        ("block_parameters", "a block, M", 1e6),
    ),
    "costs of a row": (
        ("model", "model", 0),
        ("resolution", "resolution", 0),
        ("block_flops", "GFLOP a block", 1e9),
        ("flops", "TFLOP", 1e12),
        ("weight_bytes", "weights, GB", 1e9),
        ("block_kv_bytes", "KV a block, MB", 1e6),
        ("kv_bytes", "KV, GB", 1e9),
        ("hop_bytes", "hop, MB", 1e6),
    ),
    "vaes": (
        ("name", "VAE", 0),
        ("decoder", "decoder", 0),
        ("base_channels", "base channels", 1),
        ("latent_channels", "latent channels", 1),
        ("parameters", "parameters, M", 1e6),
    ),
    "gpus": (
        ("name", "GPU", 0),
        ("flops_bf16", "bf16 dense, TFLOP/s", 1e12),
        ("memory_bytes", "memory, GB", 1e9),
        ("memory_bytes_per_s", "memory, TB/s", 1e12),
        ("price_usd_per_hour", "USD/h", 1),
        ("confidence", "confidence", 0),
    ),
    "links": (
        ("name", "link", 0),
        ("between", "between", 0),
        ("bytes_per_s", "one way, GB/s", 1e9),
        ("confidence", "confidence", 0),
        ("latency_s", "latency, us", 1e-6),
        ("latency_confidence", "confidence", 0),
        ("receive_s", "blocking receive, ms", 1e-3),
    ),
    "profiles": (
        ("name", "profile", 0),
        ("kind", "provenance", 0),
        ("date", "date", 0),
        ("models", "models", 0),
        ("resolutions", "resolutions", 0),
        ("rows", "rows", 0),
        ("ranks", "ranks", 0),
        ("error", "error of passes, %", 1e-2),
        ("half_width", "90 %, +- %", 1e-2),
    ),
    "scenarios": (("name", "scenario", 0), ("question", "question", 0)),
}
"""Columns of each table: key, heading with unit, and the unit's size (0 for text)."""


def _table(kind: str, rows: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - a rich table
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=kind, title_justify="left")
    for _, heading, size in COLUMNS[kind]:
        table.add_column(heading, justify="right" if size else "left", overflow="fold")
    sources = [_sources(row) for row in rows if "source" in row]
    table.caption, table.caption_justify = "\n".join(sources) or None, "left"
    digits = 6
    if kind == "profiles":
        digits = 3
    if kind == "costs of a row":
        table.caption, digits = "one latent frame that attends a window of 6, in bfloat16", 4
    for row in rows:
        table.add_row(*(_cell(row.get(key), size, digits) for key, _, size in COLUMNS[kind]))
    return table


def _sources(row: dict[str, Any]) -> str:
    """Who says what stands in *row*: its `source`, and that of a column that has its own."""
    others = [
        f"{key.removesuffix('_source')}: {value}"
        for key, value in row.items()
        if key.endswith("_source") and value
    ]
    return "; ".join([f"{row['name']}: {row['source']}", *others])


def _cell(value: Any, size: float, digits: int) -> str:  # noqa: ANN401 - any value of the catalogue
    if value is None:
        return "-"
    return f"{value / size:,.{digits}g}" if size else str(value)
