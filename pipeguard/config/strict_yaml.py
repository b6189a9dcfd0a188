"""A YAML document read strictly: each value with its key and line, and all errors at once.

Knows lines, keys and misspelt words, not the meaning of the document. A reader asks each entry for
the type it expects; errors are collected, so that a person sees all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import yaml

from pipeguard.errors import PolicyError
from pipeguard.unicode.display import suggestion

MAX_CHARACTERS = 128 * 1024  # a policy is written by hand; the reader takes up to 10 us for each
MAX_SHOWN = 30  # errors of one file
SHOWN_CHARACTERS = 60  # of a value in an error
_YAML = "tag:yaml.org,2002:"
_SCALARS = frozenset(_YAML + name for name in ("str", "int", "float", "bool", "timestamp"))
_Choice = TypeVar("_Choice")


class Document:
    """One file's text.

    Args:
        text: the YAML document.
        source: its name, for errors.

    Raises:
        PolicyError: it is not a YAML document.

    Attributes:
        root: its outermost value, or None if it is empty.
    """

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self._problems: list[tuple[int, int, str]] = []
        node = self._compose(text)
        empty = node is None or (isinstance(node, yaml.ScalarNode) and not node.value)
        self.root = None if node is None or empty else YamlEntry(self, node, "")

    def wrong(self, node: yaml.Node, key: str, what: str) -> None:
        """Note an error."""
        line = node.start_mark.line + 1
        column = node.start_mark.column + 1
        self._problems.append((line, column, f"{key}: {what}" if key else what))

    def finish(self) -> None:
        """Report all errors.

        Raises:
            PolicyError: there is at least one.
        """
        if not self._problems:
            return
        problems = sorted(set(self._problems))
        count = "one error" if len(problems) == 1 else f"{len(problems)} errors"
        lines = [
            f"  line {line}, column {column}: {what}" for line, column, what in problems[:MAX_SHOWN]
        ]
        if len(problems) > MAX_SHOWN:
            lines.append(f"  … and {len(problems) - MAX_SHOWN} more")
        raise PolicyError("\n".join([f"{self.source} has {count}:", *lines]))

    def _compose(self, text: str) -> yaml.Node | None:
        if len(text) > MAX_CHARACTERS:
            raise PolicyError(f"{self.source} is longer than {MAX_CHARACTERS} characters.")
        try:
            return yaml.compose(text.removeprefix("\ufeff"), yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            what = describe_problem(error)
        except RecursionError:
            raise PolicyError(f"{self.source} is nested too deeply.") from None
        # PyYAML raises the last two for an escape beyond Unicode, a version of thousands of digits.
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            what = " ".join(str(error).split())
        raise PolicyError(f"{self.source} is not valid YAML:\n  {what}")


class YamlEntry:
    """A value in a document, and the key that leads to it."""

    def __init__(self, document: Document, node: yaml.Node, key: str) -> None:
        self.document = document
        self.key = key
        self._node = node

    @property
    def line(self) -> int:
        """The line and column of its start, from 1."""
        return int(self._node.start_mark.line) + 1

    @property
    def is_mapping(self) -> bool:
        """True if it has keys and values."""
        return isinstance(self._node, yaml.MappingNode)

    def wrong(self, what: str) -> None:
        """Note that this value is wrong."""
        self.document.wrong(self._node, self.key, what)

    def fields(
        self,
        allowed: Iterable[str],
        required: Iterable[str] = (),
        elsewhere: Mapping[str, str] = {},
    ) -> dict[str, YamlEntry]:
        """The values of a mapping by key; an unknown or repeated key is wrong.

        Args:
            allowed: its keys.
            required: keys that must be there.
            elsewhere: keys of another file, each with the name of that file.
        """
        allowed = tuple(allowed)
        if not isinstance(self._node, yaml.MappingNode):
            self.wrong(f"expected keys and values ({', '.join(allowed)}), not {self._what()}")
            return {}
        entries: dict[str, YamlEntry] = {}
        for key_node, node in self._node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if name is None:
                self.document.wrong(key_node, self.key, "a key is one word")
                continue
            key = f"{self.key}.{name}" if self.key else name
            if name not in allowed:
                belongs = f" It belongs in {elsewhere[name]}." if name in elsewhere else ""
                near = belongs or suggestion(name, allowed)
                self.document.wrong(key_node, _cut(key), f"unknown key.{near}")
            elif name in entries:
                self.document.wrong(
                    key_node, key, f"the key is repeated; first in line {entries[name].line}"
                )
            else:
                entries[name] = YamlEntry(self.document, node, key)
        for name in required:
            if name not in entries:
                self.wrong(f"`{name}` is missing")
        return entries

    def known_fields(self, keys: Iterable[str]) -> dict[str, YamlEntry]:
        """The values of these keys, in another program's file; its other keys are its own."""
        members = self.members()
        return {name: members[name] for name in keys if name in members}

    def members(self) -> dict[str, YamlEntry]:
        """The values of a mapping by keys of the user's own; a repeated key is wrong."""
        if not isinstance(self._node, yaml.MappingNode):
            self.wrong(f"expected names and values, not {self._what()}")
            return {}
        names = [node.value for node, _ in self._node.value if isinstance(node, yaml.ScalarNode)]
        return self.fields(names)

    def items(self) -> list[YamlEntry]:
        """The values of a list; other kinds are wrong."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.wrong(f"expected a list, not {self._what()}")
            return []
        return [
            YamlEntry(self.document, node, f"{self.key}[{index}]")
            for index, node in enumerate(self._node.value)
        ]

    def text(self) -> str | None:
        """A scalar, as the file has it; an empty value, a list or a mapping is wrong."""
        node = self._node
        if not isinstance(node, yaml.ScalarNode):
            self.wrong(f"expected a word, not {self._what()}")
        elif node.tag not in _SCALARS or not node.value.strip():
            self.wrong("there is nothing here" if not node.value.strip() else "unknown tag")
        elif not node.value.isprintable():
            self.wrong("expected one line without control characters")
        else:
            return str(node.value)
        return None

    def choice(self, words: Mapping[str, _Choice]) -> _Choice | None:
        """One of several words; any other value is wrong."""
        text = self.text()
        if text is None:
            return None
        if text in words:
            return words[text]
        near = suggestion(text, words, listed=True)
        self.wrong(f"`{_cut(text)}` is not one of {', '.join(words)}.{near}")
        return None

    def _what(self) -> str:
        if isinstance(self._node, yaml.ScalarNode):
            return f"`{_cut(self._node.value)}`" if self._node.value else "nothing"
        return "a list" if isinstance(self._node, yaml.SequenceNode) else "keys and values"


def describe_problem(error: yaml.MarkedYAMLError) -> str:
    """The place of a syntax error, and the reason."""
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + (error.problem or error.context or "it cannot be read")


def _cut(text: str) -> str:
    shown = "".join(c if c.isprintable() else "�" for c in text)
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 1] + "…"
