"""Whom does a message mean, when several things are done by turns?"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from streamtwin.core.errors import StreamtwinError
from streamtwin.core.scenario import Scenario


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Let every complaint begin with *what* it is about, and stay of its kind."""
    try:
        yield
    except StreamtwinError as error:
        raise type(error)(f"{what}: {error}") from error


def of_variant(label: str, scenario: Scenario | Mapping[str, Any]) -> AbstractContextManager[None]:
    """Let complaints name the variant *label*, if *scenario*, as read or as recorded, has any."""
    has = scenario.variants if isinstance(scenario, Scenario) else scenario.get("variants")
    return naming(f"variant {label!r}") if has else nullcontext()
