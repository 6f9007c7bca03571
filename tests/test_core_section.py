"""What every section of a scenario refuses, wherever in it a number stands."""

from collections.abc import Iterator
from types import UnionType
from typing import Union, get_args, get_origin

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from streamtwin.core.errors import ScenarioError
from streamtwin.core.scenario import Scenario
from streamtwin.core.scenario_file import parse_scenario
from streamtwin.core.section import Section
from streamtwin.core.yaml_text import parse_yaml


def sections(kind: type[Section] = Section) -> Iterator[type[Section]]:
    for own in kind.__subclasses__():
        yield own
        yield from sections(own)


def kinds(field: FieldInfo) -> set[object]:
    """What *field* may hold, without null and without what bounds it."""
    either = get_origin(field.annotation) in (Union, UnionType)
    found = get_args(field.annotation) if either else (field.annotation,)
    return {get_args(one)[0] if hasattr(one, "__metadata__") else one for one in found}


def numbers() -> list[tuple[type[Section], str]]:
    return [
        (section, name)
        for section in dict.fromkeys(sections())
        for name, field in section.model_fields.items()
        if kinds(field) <= {int, float, type(None)}
    ]


def test_there_are_sections_with_numbers() -> None:
    found = {section.__name__ for section, _ in numbers()}
    assert {"Deployment", "Workload", "Visit", "SlowCard", "LostRank", "NoiseController"} <= found
    assert len(numbers()) > 60


@pytest.mark.parametrize(
    ("section", "name"), numbers(), ids=lambda one: getattr(one, "__name__", one)
)
def test_no_number_is_a_boolean(section: type[Section], name: str) -> None:
    for value in (True, False):
        with pytest.raises(ValidationError) as raised:
            section.model_validate({name: value})
        told = [one["msg"] for one in raised.value.errors() if one["loc"] == (name,)]
        assert told == ["Input should be a number, not a boolean"]


REFUSED = {
    "deployment.gpus=true": "deployment.gpus = True",
    "deployment.gpus=[{gpu: h100-sxm, count: true}]": "deployment.gpus.0.count = True",
    "deployment.slowdown={0: true}": "deployment.slowdown.0 = True",
    "deployment.partition.blocks=[15, false]": "deployment.partition.blocks.1 = False",
    "resolution=[true, 832]": "resolution.0 = True",
    "prices={h100-sxm: true}": "prices.h100-sxm = True",
    "workload.visits=[{idle: [[1, true]]}]": "workload.visits.0.idle.0.1 = True",
    "workload.classes={a: {slo: {latency_s: true}}}": "workload.classes.a.slo.latency_s = True",
    "trouble.slow_cards=[{rank: 0, factor: true}]": "trouble.slow_cards.0.factor = True",
}


@pytest.mark.parametrize("override", REFUSED)
def test_the_message_names_file_key_and_value(override: str) -> None:
    words = f"mine.yaml with {override}: {REFUSED[override]}: Input should be a number, not a bool"
    with pytest.raises(ScenarioError) as raised:
        parse_scenario("name: x", "mine.yaml", [override])
    assert words in str(raised.value)


def test_what_was_a_number_still_is() -> None:
    given = parse_scenario(
        "deployment: {slowdown: {'0': 2}, stream_batch: on}\nworkload: {source_fps: 16, chunks: 12.0}",
        "mine.yaml",
    )
    assert given.deployment.slowdown == {0: 2.0}
    assert given.deployment.stream_batch is True
    assert (given.workload.source_fps, given.workload.chunks) == (16.0, 12)
    assert Scenario.model_validate(given.model_dump(mode="json")) == given


@pytest.mark.parametrize("text", ["9" * 30, "0x" + "f" * 20_000, "-" + "9" * 4000, "0b" + "1" * 70])
def test_whole_numbers_that_nothing_can_keep_are_refused_shortly(text: str) -> None:
    with pytest.raises(ScenarioError, match="not valid YAML") as refused:
        parse_yaml(f"seed: {text}", "a.yaml")
    assert len(str(refused.value)) < 300
    assert parse_yaml(f"seed: {2**63 - 1}", "a.yaml") == {"seed": 2**63 - 1}
