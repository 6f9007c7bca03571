"""At which line of a scenario file does a mistake stand?"""

import re
from collections.abc import Iterable, Iterator

import yaml

MENTION = re.compile(r"[a-z_]+(?:\.[\w-]+)+|[a-z_]+(?= =|:)")
"""A key in the words of an error: a path with dots, or one word before `=` or a colon."""


class Places:
    """Lines of the keys of a file, but for those that an override sets."""

    def __init__(self, text: str = "", overridden: Iterable[str] = ()) -> None:
        """*text* is YAML that can be read; *overridden* are keys whose value is not the file's."""
        self.overridden = set(overridden)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        self.lines = {} if node is None else dict(_lines(node))

    def of_key(self, key: str) -> int | None:
        """Line of *key*, or of the innermost section around it that the file has."""
        around = list(_around(key))
        if not self.overridden.isdisjoint(around):
            return None
        return next((self.lines[one] for one in around if one in self.lines), None)

    def of_words(self, message: str) -> int | None:
        """Line of the first key that *message* speaks of and that is the file's own."""
        for found in MENTION.finditer(message):
            key = found[0]
            if key in self.lines and self.overridden.isdisjoint(_around(key)):
                return self.lines[key]
        return None


def _around(key: str) -> Iterator[str]:
    """The *key* itself, then the sections around it from the inside out."""
    while key:
        yield key
        key = key.rpartition(".")[0]


def _lines(root: yaml.Node) -> Iterator[tuple[str, int]]:
    """Path and line, from 1, of each key and list entry; of what aliases repeat, the first."""
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:  # an alias: followed each time, a few lines could stand for billions
            continue
        seen.add(id(node))
        for name, mark, inner in _entries(node):
            yield path + name, mark.line + 1
            waiting.append((f"{path}{name}.", inner))


def _entries(node: yaml.Node) -> Iterator[tuple[str, yaml.Mark, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield key.value, key.start_mark, value
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield str(index), value.start_mark, value
