"""Which cards and links does a scenario name, and on which hosts do its ranks stand?"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from streamtwin.core.errors import ScenarioError
from streamtwin.core.section import MAX_RANKS, Section

Pair = Annotated[str, Field(pattern=r"^\d+-\d+$")]


class Cards(Section):
    """Neighbouring ranks with cards of one kind."""

    gpu: Annotated[str, Field(description="a card of the catalogue")]
    count: Annotated[int, Field(ge=1, le=MAX_RANKS, description="ranks that have such a card")] = 1
    profile: Annotated[
        str | None,
        Field(
            description="its latency profile; null: the scenario's if of such a card, else found"
        ),
    ] = None


class Links(Section):
    """Which links of the catalogue join the ranks; each is null: what the profile's hops are."""

    cards: Annotated[str | None, Field(description="link within a host; null: the cards' own")] = (
        None
    )
    hosts: Annotated[
        str | None, Field(description="link between hosts; where there are several, say which")
    ] = None
    pairs: Annotated[
        dict[Pair, str], Field(description="link from rank A to rank B, by `A-B`, before all else")
    ] = Field({})


_CARDS = TypeAdapter(list[Cards])


def listed(data: Any) -> Any:  # noqa: ANN401 - what a file says, unchecked
    """A deployment whose `gpus` may be a list of cards, as one with their number and a `fleet`.

    So that `gpus` is a number wherever ranks are counted.

    Raises:
        ScenarioError: an entry of the list is wrong, or cards are given twice.
    """
    if not isinstance(data, dict) or not isinstance(data.get("gpus"), list):
        return data
    if data.get("fleet"):
        raise ScenarioError("deployment.gpus has a list of cards and deployment.fleet another one")
    try:
        cards = _CARDS.validate_python(data["gpus"])
    except ValidationError as error:
        raise ScenarioError(_worded(error)) from error
    if not cards:
        raise ScenarioError("deployment.gpus = []: give a number, or at least one {gpu, count}")
    return {**data, "gpus": count_of(cards), "fleet": cards}


def count_of(cards: Sequence[Cards]) -> int:
    """Ranks that *cards* are for."""
    return sum(each.count for each in cards)


def _worded(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, ("deployment", "gpus", *first["loc"])))
    known = ", ".join(Cards.model_fields)
    return f"{key} = {first['input']!r}: {first['msg']}; an entry has {known}"


def or_cards(schema: dict[str, Any]) -> None:
    """Say in the JSON schema of `gpus` that a list of cards will do as well."""
    number = {key: schema.pop(key) for key in ("type", "minimum", "maximum") if key in schema}
    entries = {"type": "array", "items": {"type": "object"}, "minItems": 1}  # as those of fleet
    schema["anyOf"] = [number, entries]
