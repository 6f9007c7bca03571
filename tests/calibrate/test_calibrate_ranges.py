"""Does every operation have a name that means it, and does nothing else have one?"""

from dataclasses import fields
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.calibrate.ranges import PREFIX, convention, name_of, op_of
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import FAMILIES, Copy, DitPass, Op

PASS = DitPass("wan2.1-1.3b", 8, 4, 1, 1560, 9360.0, True, False)


def values(kind: object) -> st.SearchStrategy:
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    return {
        str: st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
        int: st.integers(0, 2**50),
        float: st.floats(0, 1e12),
        bool: st.booleans(),
    }[kind]


def ops_of(kind: type[Op]) -> st.SearchStrategy[Op]:
    return st.builds(kind, **{field.name: values(field.type) for field in fields(kind)})


every_op = st.one_of(*(ops_of(kind) for kind in FAMILIES))


@given(every_op)
def test_a_name_means_the_operation_that_it_was_made_of(op: Op) -> None:
    assert op_of(name_of(op)) == op
    assert name_of(op_of(name_of(op))) == name_of(op)


@given(every_op, every_op)
def test_different_operations_have_different_names(one: Op, other: Op) -> None:
    assert (name_of(one) == name_of(other)) == (one == other)


def test_names_are_those_of_the_documents() -> None:
    assert name_of(PASS) == (
        "streamtwin.dit model=wan2.1-1.3b blocks=8 rows=4 chunk_latents=1 tokens=1560 "
        "kv_tokens=9360 embeds=1 unembeds=0"
    )
    assert name_of(Copy("to_host", 12)) == "streamtwin.copy direction=to_host size_bytes=12"


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        ("streamtwin.dit", "streamtwin.pass", "choose one of streamtwin.dit"),
        ("rows=4", "", "'rows' is missing; streamtwin.dit takes model, blocks, rows"),
        ("rows=4", "rows=4 colour=red", "'colour' is unknown"),
        ("rows=4", "rows=4 rows=4", "given twice"),
        ("rows=4", "rows=four", "rows = 'four': not a number"),
        ("rows=4", "rows=nan", "rows = 'nan': not a finite whole number"),
        ("rows=4", "rows=-1", "rows = '-1'"),
        ("rows=4", "rows=1.5", "rows = '1.5': not a finite whole number"),
        ("embeds=1", "embeds=2", "embeds = '2': choose 0 or 1"),
    ],
)
def test_another_name_is_told_what_is_wrong(was: str, becomes: str, complaint: str) -> None:
    with pytest.raises(CalibrationError, match=complaint.replace("[", r"\[")):
        op_of(name_of(PASS).replace(was, becomes))


def test_a_choice_is_listed() -> None:
    with pytest.raises(CalibrationError, match="'up': choose one of to_device, to_host"):
        op_of("streamtwin.copy direction=up size_bytes=1")


def test_the_convention_names_every_kind_with_its_fields() -> None:
    for family in FAMILIES.values():
        assert PREFIX + family in convention()
    assert "streamtwin.hop size_bytes=..." in convention()
