"""What a definition says that it is for: its name, its title and its first sentence.

A tool that sums up conversations may ask for one; a calculator has no use for it. A rule lists the
words with which its match is at home (`purpose`), and is less sure where one of them stands there.
The server writes those words too, so a match is only less sure, and never none. Knows words, and
no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.protocol.places import Path
from pipeguard.core.unicode.name_words import words_of_any_script

MOST_CHARS = 200  # of a first sentence: what follows says no longer what the tool is for
_END = re.compile(r"[.!?\u3002\uff01\uff1f\u0964\u061f](?=\s|$)|[\u3002\uff01\uff1f\u0964]|\n")


def serves(listed: Iterable[str], value: JsonValue, path: Path, start: int) -> bool:
    """True where a definition is for one of the listed things.

    Args:
        listed: words in small letters; `*` at the end stands for any ending.
        value: the definition, as a list of tools or prompts has it.
        path: of the string in it that holds what was found.
        start: where in that string, in characters. Of a first sentence that holds it, only the
            first word says what the tool is for: "Condenses the conversation so far".
    """
    if not isinstance(value, dict):
        return False
    told = [text for key in ("name", "title") if type(text := value.get(key)) is str]
    description = value.get("description")
    if type(description) is str:
        sentence = _first_sentence(description)
        is_inside = path == ("description",) and start < len(sentence)
        told.append(sentence[:start].partition(" ")[0] if is_inside else sentence)
    wanted = _pattern(tuple(listed))
    return any(wanted.fullmatch(word) for text in told for word in words_of_any_script(text))


def _first_sentence(text: str) -> str:
    end = _END.search(text, 0, MOST_CHARS)
    return text[: end.start() if end else MOST_CHARS]


@lru_cache(maxsize=64)
def _pattern(listed: tuple[str, ...]) -> re.Pattern[str]:
    parts = (re.escape(word.removesuffix("*")) + r"\w*" * word.endswith("*") for word in listed)
    return re.compile("|".join(parts))
