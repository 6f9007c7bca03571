"""What is an operation called in a trace, and which operation does such a name mean?

`streamtwin.KIND field=value ...`: KIND is a family of operations, and every field of the operation
follows once, in any order. Flags are 0 or 1; a string is quoted as in a URL, so that no name
contains a space that is not a separator.
"""

from dataclasses import Field, fields
from typing import Any, Literal, get_args, get_origin
from urllib.parse import quote, unquote

from streamtwin.calibrate.bounds import AMOUNT, FLAG, number_of, said
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import FAMILIES, Op, family_of

PREFIX = "streamtwin."

KINDS: dict[str, type[Op]] = {family: kind for kind, family in FAMILIES.items()}


def name_of(op: Op) -> str:
    """The name of the range in which *op* runs; `op_of` reads it back."""
    words = [f"{field.name}={_text(getattr(op, field.name))}" for field in fields(op)]
    return " ".join([PREFIX + family_of(op), *words])


def op_of(name: str) -> Op:
    """The operation that *name* means.

    Raises:
        CalibrationError: *name* does not follow the convention; says where, and what would.
    """
    kind, *words = name.removeprefix(PREFIX).split() or [""]
    if kind not in KINDS:
        raise CalibrationError(f"{said(PREFIX + kind)}: choose one of {_listed()}")
    pairs = dict(word.partition("=")[::2] for word in words)
    known = {field.name: field for field in fields(KINDS[kind])}
    wrong = sorted(known.keys() ^ pairs.keys())
    if wrong or len(words) != len(known):
        what = f"{said(wrong[0])} is {'missing' if wrong[0] in known else 'unknown'}" if wrong else (
            "a field is given twice"
        )  # fmt: skip
        raise CalibrationError(f"{what}; {PREFIX}{kind} takes {', '.join(known)}, each once")
    values: dict[str, Any] = {key: _value(known[key], text) for key, text in pairs.items()}
    op: Op = KINDS[kind](**values)
    return op


def convention() -> str:
    """How ranges are named, for somebody whose trace has none of ours."""
    return "; ".join(
        " ".join([PREFIX + kind, *(f"{field.name}=..." for field in fields(op))])
        for kind, op in KINDS.items()
    )


def _listed() -> str:
    return ", ".join(PREFIX + kind for kind in KINDS)


def _text(value: str | float | bool) -> str:
    if isinstance(value, str):
        return quote(value, safe="")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(int(value)) if isinstance(value, bool) else repr(value)


def _value(field: "Field[Any]", text: str) -> str | float | int | bool:
    if field.type is str:
        return unquote(text)
    if get_origin(field.type) is Literal:
        if unquote(text) in get_args(field.type):
            return unquote(text)
        raise CalibrationError(
            f"{field.name} = {said(text)}: choose one of {', '.join(get_args(field.type))}"
        )
    whole = field.type is not float
    try:
        number = number_of(text, FLAG if field.type is bool else AMOUNT, whole=whole)
    except ValueError as error:
        raise CalibrationError(f"{field.name} = {said(text)}: {error}") from None
    if field.type is bool:
        return bool(number)
    return int(number) if whole else number
