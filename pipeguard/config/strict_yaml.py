"""A YAML document read strictly, with where everything stands in it.

Knows lines, keys and words that are misspelt; not what the document means. Whoever reads it asks
each entry for what it ought to be; what is wrong is collected, so that a person sees all of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

import yaml

from pipeguard.errors import PolicyError

MAX_CHARACTERS = 256 * 1024  # a policy is written by hand; the reader takes 4 ms for 2 KB
MAX_TOLD = 30  # problems of one file
MAX_LISTED = 12  # words, as a remedy: a line
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
        PolicyError: it is no YAML document.

    Attributes:
        root: what it holds, or None where it is empty.
    """

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self._problems: list[tuple[int, int, str]] = []
        node = self._compose(text)
        empty = node is None or (isinstance(node, yaml.ScalarNode) and not node.value)
        self.root = None if node is None or empty else YamlEntry(self, node, "")

    def wrong(self, node: yaml.Node, key: str, what: str) -> None:
        """Note something that a person must mend."""
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self._problems.append((line, column, f"{key}: {what}" if key else what))

    def finish(self) -> None:
        """Tell all that is wrong.

        Raises:
            PolicyError: something is.
        """
        if not self._problems:
            return
        problems = sorted(set(self._problems))
        count = "one error" if len(problems) == 1 else f"{len(problems)} errors"
        lines = [
            f"  line {line}, column {column}: {what}" for line, column, what in problems[:MAX_TOLD]
        ]
        if len(problems) > MAX_TOLD:
            lines.append(f"  … and {len(problems) - MAX_TOLD} more")
        raise PolicyError("\n".join([f"{self.source} has {count}:", *lines]))

    def _compose(self, text: str) -> yaml.Node | None:
        if len(text) > MAX_CHARACTERS:
            raise PolicyError(f"{self.source} is longer than {MAX_CHARACTERS} characters.")
        try:
            return yaml.compose(text.removeprefix("\ufeff"), yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
            what = " ".join(filter(None, (error.context, error.problem)))
            raise PolicyError(
                f"{self.source} is not valid YAML:\n  {where}{what or 'it cannot be read'}"
            ) from None
        except yaml.YAMLError as error:
            told = " ".join(str(error).split())
            raise PolicyError(f"{self.source} is not valid YAML:\n  {told}") from None
        except RecursionError:
            raise PolicyError(f"{self.source} is nested too deeply.") from None
        except (ValueError, OverflowError) as error:
            # PyYAML's own: an escape beyond Unicode, a version of thousands of digits
            raise PolicyError(f"{self.source} is not valid YAML:\n  {error}") from None


class YamlEntry:
    """A value in a document, and the key that leads to it."""

    def __init__(self, document: Document, node: yaml.Node, key: str) -> None:
        self.document = document
        self.key = key
        self._node = node

    @property
    def line(self) -> int:
        """Where it starts, from 1."""
        return int(self._node.start_mark.line) + 1

    def wrong(self, what: str) -> None:
        """Note that this value is wrong."""
        self.document.wrong(self._node, self.key, what)

    def fields(self, known: Iterable[str], required: Iterable[str] = ()) -> dict[str, YamlEntry]:
        """The values of a mapping by key; a key that is not known, or stands twice, is wrong."""
        known = tuple(known)
        if not isinstance(self._node, yaml.MappingNode):
            self.wrong(f"expected keys and values ({', '.join(known)}), not {self._what()}")
            return {}
        found: dict[str, YamlEntry] = {}
        for key_node, node in self._node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if name is None:
                self.document.wrong(key_node, self.key, "a key is one word")
                continue
            key = f"{self.key}.{name}" if self.key else name
            if name not in known:
                self.document.wrong(key_node, _cut(key), f"unknown key.{suggestion(name, known)}")
            elif name in found:
                self.document.wrong(
                    key_node, key, f"stands twice; first in line {found[name].line}"
                )
            else:
                found[name] = YamlEntry(self.document, node, key)
        for name in required:
            if name not in found:
                self.wrong(f"`{name}` is missing")
        return found

    def items(self) -> list[YamlEntry]:
        """The values of a list; anything else is wrong."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.wrong(f"expected a list, not {self._what()}")
            return []
        return [
            YamlEntry(self.document, node, f"{self.key}[{index}]")
            for index, node in enumerate(self._node.value)
        ]

    def text(self) -> str | None:
        """A word, as it stands in the file; nothing, a list or a mapping is wrong."""
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
        """What one of some words stands for; any other is wrong."""
        text = self.text()
        if text is None:
            return None
        if text in words:
            return words[text]
        near = suggestion(text, words, listed=True)
        self.wrong(f"`{_cut(text)}` is none of {', '.join(words)}.{near}")
        return None

    def _what(self) -> str:
        if isinstance(self._node, yaml.ScalarNode):
            return f"`{_cut(self._node.value)}`" if self._node.value else "nothing"
        return "a list" if isinstance(self._node, yaml.SequenceNode) else "keys and values"


def suggestion(word: str, known: Iterable[str], *, listed: bool = False) -> str:
    """A question after the word that was probably meant, with a space before it.

    Args:
        word: what was written.
        known: what could have been meant.
        listed: True where a person has all of them before their eyes already; else a few words
            are listed where none comes near.
    """
    known = tuple(known)
    near = difflib.get_close_matches(word[:SHOWN_CHARACTERS], known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean `{near[0]}`?"
    return "" if listed or len(known) > MAX_LISTED else f" There are: {', '.join(known)}."


def _cut(text: str) -> str:
    shown = "".join(c if c.isprintable() else "�" for c in text)
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 1] + "…"
