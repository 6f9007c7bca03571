"""How are values told in a message, so that it stays one that is read?"""

import reprlib

MAX_TEXT = 200
"""Most characters of a key, or of an override."""

MAX_MESSAGE = 2000
"""Most characters of what is said about a scenario, several values and choices included."""


def brief(value: object) -> str:
    """*value* as text that stays short, whatever it holds."""
    words = reprlib.Repr()
    words.maxlevel, words.maxstring, words.maxother = 2, 80, 80
    return words.repr(value)


def cut(text: str, most: int = MAX_TEXT) -> str:
    """*text* in at most so many characters: its begin and, as choices stand there, its end."""
    if len(text) <= most:
        return text
    kept = most - len(_GAP)
    return text[: kept - kept // 3] + _GAP + text[-(kept // 3) :]


_GAP = " ... "
