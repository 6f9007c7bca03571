"""Whom does a message mean, when several things are done by turns?"""

from collections.abc import Iterator
from contextlib import contextmanager

from streamtwin.core.errors import StreamtwinError


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Let every complaint begin with *what* it is about, and stay of its kind."""
    try:
        yield
    except StreamtwinError as error:
        raise type(error)(f"{what}: {error}") from error
