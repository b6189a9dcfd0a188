"""Text for a person to read, with its hidden characters shown. Knows Unicode, no messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from pipeguard.firewall.lazy_regex import lazy_regex

# Printable by Unicode's categories, but invisible: combining grapheme joiner, Hangul and Khmer
# fillers, Mongolian and other variation selectors, the blank Braille pattern.
_FILLER = lazy_regex(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0"
    "\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
# Stacked on one letter, more marks than these reach into the lines around: no script needs as many.
MOST_MARKS = 4
_STACK = lazy_regex(r"[^\w\s\x00-\x7f]{5,}")  # may be a stack of marks
_WORD = lazy_regex(r"(?:[^\W\d_]|[\u0370-\u052f])+")  # whole, so that long ones are read once
_MIXED = lazy_regex(r"[A-Za-z][\u0370-\u052f]|[\u0370-\u052f][A-Za-z]")
# Text that a CI system would obey in our lines: workflow commands of GitHub Actions (`::error::` at
# the beginning of a line, `##[error]` anywhere), and logging commands of Azure Pipelines (`##vso[`)
# and TeamCity (`##teamcity[`). The later line breaks are unknown here.
_COMMAND = lazy_regex(
    r":(?=:(?:(?:set|save|add|remove|stop|internal)-[\w-]{1,40}|error|warning|notice|debug|group|"
    r"endgroup|echo)[ :])|#(?=#[a-z]{0,20}\[)",
    re.IGNORECASE,
)
_GREEK_OR_CYRILLIC = lazy_regex(r"[\u0370-\u052f]")
# Signs from which a client that draws HTML or Markdown (CommonMark, GFM, linkify-it) would
# make a link, a picture or an element, or which it would leave out: `\"` would end a JSON string.
_MARKUP = lazy_regex(
    r"[<>&*`~@\\]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[])|:(?=//)|/(?=/)|(?<=www)\.", re.IGNORECASE
)
# Quotation marks, and signs that look like one, singly or in pairs.
_QUOTES = lazy_regex(
    "[\"'`\u00b4\u02ba\u02dd\u05f4\u2018-\u201f\u2032-\u2037\u275b-\u275e\u3003\uff02\uff07]+"
)
_TO_FULL_WIDTH = 0xFEE0  # from an ASCII character to its likeness


def visible(text: str) -> str:
    """Show text that a terminal would hide: `⟨U+200B⟩` for an invisible character, and look-alikes.

    Control, format and private characters, every space but the common one, fillers and
    variation selectors are named by their code point; so are a Greek or Cyrillic letter in a word
    that also has Latin ones, marks that tower above a letter, and the first character of a CI
    system's command.
    The result is safe to print.
    """
    if "::" in text or "##" in text:
        text = _COMMAND.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)
    if text.isascii() and text.isprintable():
        return text
    marked = _STACK.sub(_name_marks, _WORD.sub(_mark_letters, text))
    if marked.isprintable() and not _FILLER.search(marked):
        return marked
    return "".join(
        c if c.isprintable() and not _FILLER.match(c) else f"⟨U+{ord(c):04X}⟩" for c in marked
    )


def visible_lines(text: str) -> str:
    """Make text of several lines visible, each tab as spaces."""
    return "\n".join(visible(line.expandtabs()) for line in text.split("\n"))


def quote(text: str) -> str:
    """A name as one word of a shell's command line, for any name a server chose; safe to print."""
    word = visible(text)
    if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def quote_name(name: str) -> str:
    """A peer's name in a sentence of ours, in quotes that it cannot end or seem to end."""
    return f'''"{_QUOTES.sub("'", show(name, NAME_CHARS))}"'''


def disarm(text: str) -> str:
    """Text for a client that may render it, without links, pictures, elements and emphasis."""
    return _MARKUP.sub(lambda match: chr(ord(match[0]) + _TO_FULL_WIDTH), text)


def is_hidden(character: str) -> bool:
    """True for an invisible character other than white space."""
    unseen = not character.isprintable() and not character.isspace()
    return unseen or _FILLER.match(character) is not None


def show(text: str, limit_chars: int) -> str:
    """Text made visible and cut; reads only as much of it as needed."""
    return cut(visible(text[: limit_chars + 1]), limit_chars)


def printable_json(value: object) -> str:
    """JSON with the same meaning, in which a CI system finds no command within a line."""
    return json.dumps(value, indent=2).replace("##", "#\\u0023")


NAME_CHARS = 100  # of a peer's name in a sentence of ours


def pluralize(count: int, what: str) -> str:
    """A number of things with a regular plural, as `1 file`, `2 files`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def those_there_are(names: Iterable[str]) -> str:
    """The sentence that follows an unknown name."""
    listed = ", ".join(names)
    return f"Available: {listed}." if listed else "There are none."


MAX_LISTED = 14  # valid words in one error: they fill a line
_MOST_SUGGESTED = 3
_LONGEST_WORD = 60  # characters that are compared


def suggestion(
    word: str, valid: Iterable[str], *, listed: bool = False, likeness: float = 0.7, most: int = 1
) -> str:
    """Suggest a correction for a wrong word, as a sentence after a space.

    Valid words that begin with it, or have a part that does, come before similar ones.

    Args:
        word: the wrong word.
        valid: the words that would be right.
        listed: True if the error lists them already; else they are listed if none is close and
            there are few.
        likeness: how much of a word must be alike, from 0 to 1.
        most: how many that look like it are named.
    """
    from difflib import get_close_matches

    valid, start = tuple(valid), word[:_LONGEST_WORD].lower()
    begin = [name for name in valid if start and name.lower().startswith(start)]
    part = [name for name in valid if start and re.search(rf"[^a-z0-9]{re.escape(start)}", name)]
    near = (begin or part)[:_MOST_SUGGESTED]
    near = near or get_close_matches(start, valid, n=most, cutoff=likeness)
    if near:
        *others, last = (f"`{visible(name)}`" for name in near)
        return f" Did you mean {', '.join(others)}{' or ' * bool(others)}{last}?"
    return "" if listed or len(valid) > MAX_LISTED else f" Choose from {', '.join(valid)}."


def cut(text: str, limit_chars: int) -> str:
    """Text, or its beginning and an ellipsis if it is longer than the limit."""
    return text if len(text) <= limit_chars else text[: limit_chars - 1] + "…"


def _mark_letters(word: re.Match[str]) -> str:
    if not _MIXED.search(word[0]):
        return word[0]
    return _GREEK_OR_CYRILLIC.sub(lambda letter: f"⟨U+{ord(letter[0]):04X} {letter[0]}⟩", word[0])


def _name_marks(run: re.Match[str]) -> str:
    from unicodedata import category  # 1 MB, which ASCII does without

    shown, marks = "", 0
    for c in run[0]:
        marks = marks + 1 if category(c) in {"Mn", "Me"} else 0
        shown += c if marks <= MOST_MARKS else f"⟨U+{ord(c):04X}⟩"
    return shown
