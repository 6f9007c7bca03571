"""Which scenarios ship, and which file does a scenario argument mean?"""

from importlib.resources import files
from pathlib import Path

from streamtwin.core.errors import ScenarioError, unknown_name
from streamtwin.core.scenario import Scenario
from streamtwin.core.scenario_file import parse_scenario, read_scenario_text


def shipped_names() -> list[str]:
    """Names of the shipped scenarios."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("streamtwin.scenarios").iterdir()
        if entry.name.endswith(".yaml")
    )


def find_scenario(argument: str, overrides: tuple[str, ...] = ()) -> Scenario:
    """The scenario that *argument* means: a file, or the name of a shipped one.

    Raises:
        ScenarioError: there is neither, or it is wrong.
    """
    text, origin = _text(argument)
    scenario = parse_scenario(text, origin, overrides, folder=_folder(argument))
    for label in scenario.variants:
        _variant(text, origin, scenario, label, overrides)
    return scenario


def find_variants(argument: str, overrides: tuple[str, ...] = ()) -> dict[str, Scenario]:
    """The scenario's variants by label, or the scenario itself when it has none.

    *overrides* apply on top of each variant's own.
    """
    text, origin = _text(argument)
    base = parse_scenario(text, origin, overrides, folder=_folder(argument))
    return {label: _variant(text, origin, base, label, overrides) for label in base.variants} or {
        base.name: base
    }


def clip_path() -> Path:
    """The video clip that ships with the scenarios: 16 frames/s, 10 s, slow and fast motion."""
    return Path(str(files("streamtwin.scenarios") / "clip.mp4"))


def _variant(
    text: str, origin: str, base: Scenario, label: str, overrides: tuple[str, ...]
) -> Scenario:
    own = base.variants[label]
    about, folder = f": variant {label!r}", _folder(origin)
    return parse_scenario(text, origin, (*own, *overrides), about, folder)


def _folder(argument: str) -> Path:
    """The folder of the scenario that *argument* means, where the files that it names lie."""
    path = Path(argument)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        return path.parent
    return Path(str(files("streamtwin.scenarios")))


def _text(argument: str) -> tuple[str, str]:
    path = Path(argument)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        return read_scenario_text(path), str(path)
    if argument not in shipped_names():
        raise ScenarioError(
            unknown_name("scenario", argument, shipped_names()) + "; or give a .yaml file"
        )
    return (files("streamtwin.scenarios") / f"{argument}.yaml").read_text("utf-8"), argument
