"""The text around a match: its words, sentences, quotes and spaces; and its excerpt for a report.

Knows no rules but their boundaries and exceptions; detect.scanning.facts draws conclusions.
"""

import re
from collections.abc import Iterator
from string import ascii_letters, digits

from pipeguard.detect.checks.readable import BUILD_ID
from pipeguard.detect.matching.confirm import Finder, Occurrence
from pipeguard.detect.rules.rule import Boundary, Rule
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.session.placeholders import MAX_PLACEHOLDER_BYTES, PLACEHOLDER_IN_BYTES
from pipeguard.unicode.folding import Range, squeeze

# --- excerpts ------------------------------------------------------------------------------

EXCERPT_CHARS = 240  # the length of most orders: a person has to read the request
SHOWN_CHARS = 4  # of a secret that is long enough to hide the rest; they show its kind
_SPACE = lazy_regex(r"\s+")
_FIRST_SIGNS = lazy_regex(r"^\s*[.,:!?]+\s+")  # that end the sentence before
_LONG_TOKEN = lazy_regex(r"(?<![A-Za-z0-9_-])(?=[A-Za-z_-]*+[0-9])[A-Za-z0-9+_=-]{12,}+")


def masked_excerpt(rule: Rule, matched: bytes, words: str = "") -> str:
    """The start of a match, without secrets and without invisible characters.

    Args:
        rule: that matched.
        matched: in the reading.
        words: of the original, if it has them unchanged; or empty.
    """
    text = matched[: 4 * EXCERPT_CHARS].decode("utf-8", "replace")
    if rule.is_private:
        shown = text[: min(SHOWN_CHARS, len(matched) // 5)]
        return f"{shown}… ({len(matched)} characters)"
    return shown_words(words or text, EXCERPT_CHARS)


def whole_words(text: str, start: int, end: int) -> str:
    """The whole words in a range, or all of it without any; it may begin or end within a word."""
    part = text[start:end]
    low, high = 0, len(part)
    if 0 < start < end and _is_letter(text[start - 1]):
        low = next((i for i, letter in enumerate(part) if not _is_letter(letter)), high)
    if start < end < len(text) and _is_letter(text[end]):
        high = next((i for i in range(high, low, -1) if not _is_letter(part[i - 1])), low)
    return _FIRST_SIGNS.sub("", part[low:high]).strip() or part


def _is_letter(character: str) -> bool:
    """True for a letter of a script that has blanks between words, or a digit."""
    return character.lower() != character.upper() or character.isdigit()


def shown_words(text: str, limit_chars: int) -> str:
    """The start of a text, without long tokens and without invisible characters."""
    return show_visibly(hide_long_tokens(text[: 4 * limit_chars]), limit_chars)


def hide_long_tokens(text: str) -> str:
    """A text with single spaces between its words, and dots in place of long tokens."""
    parts = BUILD_ID.split(_SPACE.sub(" ", text))
    return "".join(part if at % 2 else _LONG_TOKEN.sub("…", part) for at, part in enumerate(parts))


def show_visibly(text: str, limit_chars: int) -> str:
    """The start of a text; invisible characters are shown by their code points."""
    shown = text.strip()[: limit_chars + 1]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else f"⟨U+{ord(c):04X}⟩" for c in shown)
    if len(shown) <= limit_chars:
        return shown
    blank = shown.rfind(" ", limit_chars // 2, limit_chars - 1)
    return f"{shown[:blank]} …" if blank > 0 else shown[: limit_chars - 1] + "…"


# --- words ---------------------------------------------------------------------------------


def is_part_of_word(
    rule: Rule, data: bytes, match: Occurrence, within: Range | None = None
) -> bool:
    """True if the word or token at either end of a match continues beyond it.

    Underscores and dashes end a token: `_token_` is in italics, and `name_token` has a name before
    it. Underscores within a word belong to it.

    Args:
        rule: whose expression matched.
        data: the reading.
        match: in it.
        within: the furthest end of its words; None for the reading's ends.
    """
    if rule.boundary is Boundary.NONE:
        return False
    first, last = within or (0, len(data))
    start, end = match.span
    before = data[max(first, start - MOST_UNDERSCORES) : start]
    after = data[end : min(last, end + MOST_UNDERSCORES)]
    if rule.boundary is Boundary.WORD:
        before, after = before.rstrip(b"_"), after.lstrip(b"_")
    has_name = match.secret[0] > start  # which may be of more words
    return (not has_name and before[-1:].isalnum() and data[start] in _WORD_BYTES) or (
        after[:1].isalnum() and data[end - 1] in _WORD_BYTES
    )


MOST_UNDERSCORES = 8  # before a word in italics, or after it
_WORD_BYTES = frozenset(f"{ascii_letters}{digits}_".encode())


# --- encoded data and placeholders ---------------------------------------------------------

RUN_BYTES = 256  # before or after a match
RUN_LETTERS = 40  # different ones, of 64; padding has fewer
_RUN = lazy_regex(rb"[A-Za-z0-9+/_-]*+")


def is_inside_data(data: bytes, start: int, end: int) -> bool:
    """True within a run of base64 or the like that is long enough to contain any letters."""
    before, after = data[max(0, start - RUN_BYTES) : start], data[end : end + RUN_BYTES]
    return any(
        len(run) == RUN_BYTES and _RUN.fullmatch(run) and len(set(run)) > RUN_LETTERS
        for run in (before, after)
    )


def is_in_placeholder(data: bytes, start: int, end: int) -> bool:
    """True if a match overlaps a placeholder for a secret."""
    low, high = max(0, start - MAX_PLACEHOLDER_BYTES), end + MAX_PLACEHOLDER_BYTES
    return data.find(b"[", low, high) >= 0 and any(
        placeholder.start() < end and start < placeholder.end()
        for placeholder in PLACEHOLDER_IN_BYTES.finditer(data, low, min(len(data), high))
    )


# --- sentences and quotes ------------------------------------------------------------------

SENTENCE_BYTES, BEYOND_BYTES = 240, 40  # of its sentence before a match; after the match
QUOTE_BYTES = 480  # of a line, before and after a match
_SENTENCE_END = lazy_regex(rb"[.!?]\s|\n")
CUE_BYTES = 40  # before a match: the longest cue word, and the signs that may follow it
_CUE_WORDS = lazy_regex(
    rb"(?i)"
    rb"(?:such as|e\.g\.|for example|example:|like this|payloads?|detects?|blocks?|attack(?:er)?s?|"
    rb"phrases?|says?|contains?|strings?|patterns?|means?|matches|called|quoted?)[^\n]{0,24}$",
)
_MARKS = b'"', b"`"
_APOSTROPHE = lazy_regex(rb"(?<![A-Za-z])'|'(?![A-Za-z])")  # not in don't
# Opening and closing quotes in UTF-8.
_PAIRS = [
    [lazy_regex(opening), lazy_regex(closing)]
    for opening, closing in (
        (rb"\xe2\x80\x9c", rb"\xe2\x80\x9d"),
        (rb"\xc2\xab", rb"\xc2\xbb"),
        (rb"\xc2\xbb", rb"\xc2\xab"),
        (rb"\xe2\x80\x9e", rb"\xe2\x80[\x9c\x9d]"),
        (rb"\xe3\x80[\x8c\x8e]", rb"\xe3\x80[\x8d\x8f]"),
        (rb"<(?:q|code|blockquote)>", rb"</(?:q|code|blockquote)>"),
    )
]


def find_exception(unless: str, data: bytes, span: Range, secret: Range | None = None) -> bytes:
    """A rule's exception in a match's sentence; for a secret, if it includes it; else empty."""
    first, last = secret or (len(data), 0)
    found = find_exceptions(unless, data, *span, BEYOND_BYTES)
    return next((data[low:high] for low, high in found if low <= first and last <= high), b"")


def find_exceptions(
    unless: str, data: bytes, start: int, end: int, beyond_bytes: int
) -> Iterator[Range]:
    """The exceptions in the sentence of a match, or within a distance after it."""
    if not unless:
        return
    low = max(0, start - SENTENCE_BYTES)
    for sentence in _SENTENCE_END.finditer(data, low, start):
        low = sentence.end()
    high = min(len(data), end + beyond_bytes)
    for match in Finder(unless, ignore_case=True).finditer(data, low, high):
        if match.group is None:
            yield match.span


def find_quote(data: bytes, start: int, end: int, within: Range | None = None) -> bytes:
    """The words up to an opening quote, or to a word that introduces an example; else empty.

    Args:
        data: the text.
        start: of the possible quotation.
        end: of it.
        within: the string of JSON around it, if any: that string's quotes do not count.
    """
    while start < end and data[start] not in _WORD_BYTES and data[start] < 0x80:
        start += 1  # signs before a sentence do not belong to it
    line = data[max(0, start - QUOTE_BYTES) : start].rpartition(b"\n")[2]
    if cue := _CUE_WORDS.search(line, max(0, len(line) - CUE_BYTES)):
        return cue[0]
    first, last = within or (0, len(data))
    line = line[max(0, first - (start - len(line))) :]
    after = data[end : max(end, min(last, end + QUOTE_BYTES))].partition(b"\n")[0]
    opened = _find_opening(line, after)
    return line[max(0, opened - CUE_BYTES) :] if opened >= 0 else b""


def _find_opening(line: bytes, after: bytes) -> int:
    """The place in a line of a quote that the rest of the line closes; -1 without one."""
    for mark in _MARKS:
        if line.count(mark) % 2 == 1 and mark in after:
            return line.rfind(mark)
    if b"'" in line and len(_APOSTROPHE.findall(line)) % 2 == 1 and _APOSTROPHE.search(after):
        return _last(_APOSTROPHE, line)
    if line.isascii() and b"<" not in line:
        return -1  # no pair is opened
    for opening, closing in _PAIRS:
        opened = _last(opening, line)
        if opened > _last(closing, line) and closing.search(after):
            return opened
    return -1


def is_mostly_quoted(stretch: bytes) -> bool:
    """True for a sentence that is at least a third in quotes or a code span."""
    quoted = sum(len(quote[0]) for quote in _SPAN.finditer(stretch))
    return 3 * quoted >= len(stretch)


_SPAN = lazy_regex(
    rb"`[^`\n]{8,400}`|\"[^\"\n]{8,400}\"|(?<!\w)'[^'\n]{8,400}'(?!\w)"
    rb"|\xe2\x80\x9c[^\n]{8,400}?\xe2\x80\x9d"
)


def _last(mark: re.Pattern[bytes], line: bytes) -> int:
    return max((match.start() for match in mark.finditer(line)), default=-1)


# --- spaces --------------------------------------------------------------------------------

MIN_PIECES = 4
FEW_BYTES = 2  # of each piece, if something is spelled letter by letter
_SEPARATOR = lazy_regex(rb"[\x00- \"'`,;|\\\x7f]+")
_SPACES_AND_QUOTES = frozenset(b" \t\r\n\"'`")


def is_in_pieces(stretch: bytes) -> bool:
    """True for separated letters, and for groups of equal length.

    False for words, and for the lists of four or five letters with commas in a source map.
    """
    pieces = _SEPARATOR.split(stretch)
    if len(pieces) < MIN_PIECES:
        return False
    if 5 * sum(len(piece) <= FEW_BYTES for piece in pieces) >= 4 * len(pieces):
        return True
    size, separators = len(pieces[1]), set(_SEPARATOR.findall(stretch))
    is_even = all(len(piece) == size for piece in pieces[1:-1])
    is_even = is_even and len(pieces[0]) <= size and len(pieces[-1]) <= size
    return is_even and len(separators) == 1 and not _SPACES_AND_QUOTES.isdisjoint(separators.pop())


def is_disguised(stretch: bytes, *, words: bool) -> bool:
    """True if the spaces of a stretch are not those of ordinary writing.

    Args:
        stretch: with its spaces.
        words: True for prose, in which spaces separate words.
    """
    if not words:
        return len(squeeze(stretch, words=False)) != len(stretch)
    parts = re.split(rb"[^A-Za-z0-9\x80-\xff]+", stretch)
    return sum(map(len, parts)) / max(1, len(parts)) <= 2.2 or len(parts) == 1
