"""What a definition says that it is for: its name, its title and its first sentence.

A tool that sums up conversations may ask for one; a calculator has no use for it. A rule lists
words (`purpose`), and is less sure of a match in a definition for one of these. The server writes
those words too, so a match is only less sure, never none. Knows words, and no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from pipeguard.detect.scanning.context import is_mostly_quoted, is_quoted
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.unicode.folding import Range
from pipeguard.unicode.name_words import words_of_any_script

# Tools that show attacks because they look for them, stand in for them, or explain them.
SHOWING = (
    *("mock*", "fixture*", "fake*", "stub*", "dummy", "canned", "simulat*", "honeypot*"),
    *("eval*", "detect*", "lint*", "classif*", "guard*", "moderat*", "grader*", "judge*"),
    *("redteam*", "adversar*", "benchmark*", "inject*", "jailbreak*", "poison*", "tester"),
    *("explain*", "doc", "docs", "document*", "guide*", "help", "howto", "manual", "install*"),
    *("training", "awareness", "tutorial*", "readme", "cheatsheet", "quiz", "security"),
    *("validat*", "sanitiz*", "expect*", "payload*", "scanner"),
)
_SHOWN_KEYS = frozenset({"example", "examples", "default", "const", "enum", "sample"})
MAX_SENTENCE_CHARS = 200  # of the first sentence: what follows no longer says what the tool is for
_END = lazy_regex(r"[.!?\u3002\uff01\uff1f\u0964\u061f](?=\s|$)|[\u3002\uff01\uff1f\u0964]|\n")


def serves(purposes: Iterable[str], value: JsonValue, path: Path, start: int) -> bool:
    """True if a definition is for one of the listed purposes.

    Args:
        purposes: words in small letters; `*` at the end stands for any ending.
        value: the definition, as a list of tools or prompts has it.
        path: of the string in it that contains the match.
        start: where the match begins in that string, in characters. If it is in the first
            sentence, only the first word says what the tool is for: "Condenses the conversation".
    """
    if not isinstance(value, dict):
        return False
    texts = [text for key in ("name", "title") if type(text := value.get(key)) is str]
    description = value.get("description")
    if type(description) is str:
        sentence = _first_sentence(description)
        is_inside = path == ("description",) and start < len(sentence)
        texts.append(sentence[:start].partition(" ")[0] if is_inside else sentence)
    pattern = _pattern(tuple(purposes))
    return any(pattern.fullmatch(word) for text in texts for word in words_of_any_script(text))


def shows_attack(value: JsonValue, path: Path, start: int, data: bytes, span: Range) -> bool:
    """True for what a definition quotes or gives as a sample, since its tool is about such texts.

    Args:
        value: the definition.
        path: of the string in it that contains the match.
        start: where the match begins in that string, in characters.
        data: the reading that contains the match.
        span: of the match in it.
    """
    if not isinstance(value, dict) or "name" not in value or "jsonrpc" in value:
        return False
    is_sample = not _SHOWN_KEYS.isdisjoint(step for step in path if isinstance(step, str))
    if not (is_sample or is_quoted(data, *span) or is_mostly_quoted(data[slice(*span)])):
        return False
    return serves(SHOWING, value, path, start)


def _first_sentence(text: str) -> str:
    end = _END.search(text, 0, MAX_SENTENCE_CHARS)
    return text[: end.start() if end else MAX_SENTENCE_CHARS]


@lru_cache(maxsize=64)
def _pattern(purposes: tuple[str, ...]) -> re.Pattern[str]:
    parts = (re.escape(word.removesuffix("*")) + r"\w*" * word.endswith("*") for word in purposes)
    return re.compile("|".join(parts))
