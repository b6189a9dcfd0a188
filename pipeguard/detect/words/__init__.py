r"""Word lists: the meaning of names of tools, arguments, programs, hosts and credentials.

Each text file holds tables: a name at the start of a line, and its words, indented, below. A word
`@NAME` includes another table, `\x20` is a blank within a word. To extend what is recognised, add a
word. Begin with `credentials.txt`, whose head lists the users of each table. An expression stands
in the module that uses it.
"""

import re
from typing import Any, cast


class Words:
    """The tables of one file, which is read when a table is first asked for.

    The importer of this package loads it, like the package's modules.
    """

    def __init__(self, name: str, folder: str = "") -> None:
        self._path = f"{folder or __path__[0]}/{name}.txt"
        self._tables: dict[str, tuple[str, ...]] = {}

    def __getattr__(self, table: str) -> frozenset[str]:
        """The words of a table, for membership tests."""
        if table.startswith("_"):
            raise AttributeError(table)
        words = frozenset(self.tables()[table])
        setattr(self, table, words)
        return words

    def in_order(self, table: str) -> tuple[str, ...]:
        """The words of a table in order, for joining into an expression."""
        return self.tables()[table]

    def pairs(self, table: str) -> dict[str, str]:
        """The words of a table that have the form `name=value`, in order."""
        return dict(word.split("=", 1) for word in self.tables()[table])

    def alternatives(self, table: str) -> str:
        """The words of a table as alternatives of an expression."""
        return re.escape("\n".join(self.tables()[table])).replace("\\\n", "|")

    def tables(self) -> dict[str, tuple[str, ...]]:
        """All tables by their names."""
        if not self._tables:
            self._tables = {name: tuple(words) for name, words in self._read().items()}
        return self._tables

    def _read(self) -> dict[str, list[str]]:
        tables: dict[str, list[str]] = {}
        words = []
        text: bytes = cast("Any", __spec__).loader.get_data(self._path)
        for line in text.decode().splitlines():
            entries = line.split() or ["#"]
            if entries[0][0] == "#":
                continue
            if not line[0].isspace():
                words = tables.setdefault(entries[0], [])
            elif "@" not in line:
                words += entries
            else:
                for entry in entries:
                    words += tables[entry[1:]] if entry[0] == "@" else [entry]
        return tables


def alternatives(expressions: str) -> str:
    """Join expressions, which have blanks between them, as alternatives of one."""
    return "|".join(expressions.split())


# Files that models read before all else.
MODEL_FILES = (
    r"(?:claude|agents?|gemini|memory|soul|skill)(?:\.\w+)?\.md\b|\.cursorrules|\.windsurfrules"
    r"|copilot-instructions|\.clinerules|/memory/|\.mdc\b|\.instructions\.md\b"
    r"|\.(?:claude|cursor|windsurf|junie|kiro|amazonq|roo)/(?:\w+/|guidelines)|\bwarp\.md\b"
)


def __getattr__(name: str) -> Words:
    """The tables of a file in this folder, by its name."""
    if name.startswith("_"):
        raise AttributeError(name)
    words = globals()[name] = Words(name)
    return words


def word_set(text: str) -> frozenset[str]:
    """Split a short table that is written in the code."""
    return frozenset(text.split())
