"""Which errors does a user meet?

StreamtwinError
  + UserError          what the user gave is wrong: names file, key, value and legal choices
  |   + ScenarioError  ... in a scenario file or a --set
  + CalibrationError   the data does not support the claim
  + RunError           a real run stopped: names the rank and the cause

An invariant of our own that breaks is an AssertionError, never one of these.
"""

from collections.abc import Iterable

from streamtwin.core.brief import brief


class StreamtwinError(Exception):
    """Base of all errors that the command line prints without a traceback."""


class UserError(StreamtwinError):
    """What the user gave is wrong; the message names it and says what would be right."""


class ScenarioError(UserError):
    """A scenario, or an override of it, is wrong."""


class CalibrationError(StreamtwinError):
    """The measured data does not support what is asked of it."""


class RunError(StreamtwinError):
    """A real run stopped before its end."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Word the answer to a *name* that is none of the *known* ones."""
    return f"unknown {kind} {brief(name)}; known: {', '.join(sorted(known))}"
