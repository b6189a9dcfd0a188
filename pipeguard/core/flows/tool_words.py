"""The words of a tool's definition, in small letters and in English whatever language it is in.

Reads names, the beginning of the description, and the names of parameters; no values. Annotations
are not read: a server that lies about a tool lies there first.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.protocol.json_values import JsonObject
from pipeguard.core.unicode.name_words import name_words

READ_CHARS = 200  # of a description: what follows says little about what the tool does
_OWNED = lazy_regex(
    r"\b(?:my|(?:user|owner|customer|patient|account holder)['\u2019]s?"
    r"|of (?:the|your|this|one) (?:\w+ )?(?:user|owner|customer|patient|person|account))\b",
    re.IGNORECASE,
)
_NO_BLANKS_BETWEEN = lazy_regex(
    r"[\u0600-\u06ff\u0900-\u097f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
_WORD = lazy_regex(r"[^\W\d_]+")
_NO_WORDS: frozenset[str] = frozenset()


class DefinitionWords(NamedTuple):
    """The words of a definition.

    Attributes:
        name: of the tool's name.
        verbs: of the name, and what the description begins with.
        sentence: of the name and the first sentence of the description.
        parameters: of their names.
        is_owned: True where the first sentence says that what it is about is somebody's.
        description: of the name, and of all that is read of the description.
        plain: of the same part of the description, without regard to capitals: `GitHub` is one.
    """

    name: frozenset[str]
    verbs: frozenset[str]
    sentence: frozenset[str]
    parameters: frozenset[str]
    is_owned: bool
    description: frozenset[str]
    plain: frozenset[str] = _NO_WORDS


def definition_words(name: str, definition: JsonObject | None) -> DefinitionWords:
    """The words of a tool's definition.

    Args:
        name: the tool's.
        definition: as `tools/list` gives it (MCP server/tools), or None where it was not listed.
    """
    of_name = _words(name)
    if definition is None:
        return DefinitionWords(
            of_name, of_name, of_name, _NO_WORDS, is_owned=False, description=of_name
        )
    description = definition.get("description")
    text = description[:READ_CHARS] if isinstance(description, str) else ""
    sentence = text.partition(".")[0]
    schema = definition.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    parameters = _NO_WORDS
    if isinstance(properties, dict) and properties:
        parameters = _NO_WORDS.union(*map(_words, properties))
    beginning = sentence.split()[:2]
    return DefinitionWords(
        name=of_name,
        verbs=of_name.union(*(_verb_forms(word.lower().strip(",.:;")) for word in beginning)),
        sentence=of_name | _words(sentence),
        parameters=parameters,
        is_owned=_OWNED.search(sentence) is not None,
        description=of_name | _words(text),
        plain=frozenset(name_words(text.lower())),
    )


def _verb_forms(word: str) -> set[str]:
    """A verb as it is, and without the ending of the third person."""
    forms = {word}
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith("es"):
        forms.add(word[:-2])
    if word.endswith("s"):
        forms.add(word[:-1])
    return forms


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in name_words(text) if not word.isdigit()) | meanings(text)


def meanings(text: str) -> frozenset[str]:
    """What words of other languages in a text mean, in English.

    Args:
        text: a name, or a sentence.
    """
    stems, anywhere = _stems()
    small = text.lower()
    meant = set()
    if not small.isascii():
        meant |= {meaning for sign, meaning in anywhere if sign.rstrip("_") in small}
    for word in set(_WORD.findall(small)):
        whole = f"{word}_"
        meant |= {meaning for stem, meaning in stems.get(word[0], ()) if whole.startswith(stem)}
    return frozenset(meant)


@cache
def _stems() -> tuple[dict[str, list[tuple[str, str]]], list[tuple[str, str]]]:
    """Stems that begin a word, by their first letter, and those that are looked for anywhere.

    Each with its meaning.
    """
    from pipeguard.core.words.tool_languages import STEMS

    pairs = [(stem, meaning) for meaning, stems in STEMS.items() for stem in stems.split()]
    anywhere = [pair for pair in pairs if _NO_BLANKS_BETWEEN.match(pair[0])]
    beginning: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs:
        if pair not in anywhere:
            beginning.setdefault(pair[0][0], []).append(pair)
    return beginning, anywhere
