"""Every shipped scenario asks one question, says it first, and can be simulated by anybody."""

from importlib.resources import files

import pytest
import yaml

from streamtwin.core.library import find_scenario, find_variants, shipped_names

NEEDS_THIS_HOST = {"cpu-tiny", "cpu-suite"}


@pytest.mark.parametrize("name", shipped_names())
def test_a_scenario_begins_with_what_it_asks(name: str) -> None:
    text = (files("streamtwin.scenarios") / f"{name}.yaml").read_text("utf-8")
    first, *others = text.splitlines()
    assert first.startswith("# ")
    assert first.endswith("?")
    assert next(line for line in others if not line.startswith("#")) == f"name: {name}"
    assert yaml.safe_load(text)["question"] == first.removeprefix("# ")


@pytest.mark.parametrize("name", shipped_names())
def test_its_profile_ships_unless_it_is_about_this_host(name: str) -> None:
    scenario = find_scenario(name)
    assert (scenario.profile == "host") == (name in NEEDS_THIS_HOST)
    for label, variant in find_variants(name).items():
        assert variant.question == scenario.question, label
