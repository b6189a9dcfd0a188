"""Exact matches of an expression, found by RE2 in time linear in the text.

Python's engine backtracks: some texts cost it seconds per kilobyte. So it runs no expression of a
rule; those are written as it reads them, and what RE2 reads differently is rewritten here. Knows
patterns, and no rules.
Source: R. Cox, "Regular Expression Matching in the Wild" (2010), the design of RE2.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

from pipeguard.allocator import return_freed_memory
from pipeguard.detect.matching.pattern_set import BOUNDED, unbound
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import Range

MEMORY_BYTES = 4 * 1024 * 1024  # for the automaton of one expression, which grows as it reads
GENERATION, GENERATION_BYTES = 32, 2**21  # of expressions; of the messages judged with them
FEW_SIGNS, SIGN_CHARS = 100, 256  # that `re` reads in the time of one sign
COPY_CHARS = 5  # an expression with more of them for each copy is compiled once, not twice

BRACKETS = rb"\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]"  # a class, which may name others
_TOKEN = lazy_regex(rb"\\Q.*?(?:\\E|\Z)|\\.|" + BRACKETS + rb"|\$", re.DOTALL)
# RE2 has no vertical tab among spaces, another name for the end of a text, no line end before `$`.
_IN_RE2 = {rb"\s": rb"[\s\v]", rb"\S": rb"[^\s\v]", rb"\Z": rb"\z", b"$": rb"(?:\n?\z)"}

# A lookaround at an end of an expression, for the excluded sign.
_END = lazy_regex(r"\(\?(<?)!\[([^]]*)\]\)")
_ASCII = bytes(range(128))
NAMED_GROUP = lazy_regex(r"(?<!\\)\(\?P<\w+>")

_Search = Callable[[bytes, int], Any]
_Compiled = tuple[_Search, int, int]  # the index of its named group or 0, and its program's size


class Occurrence(NamedTuple):
    """One match of an expression.

    Attributes:
        span: of the match.
        group: the span of the expression's named group; None if it has none that took part.
        words: the bytes that match.
    """

    span: Range
    group: Range | None
    words: bytes

    @property
    def secret(self) -> Range:
        """The span of the group, or else of the match."""
        return self.group or self.span


class Finder:
    """Searches bytes for an expression. Threads may share it.

    A counted repetition has as many copies in RE2's program as it counts. So a text is searched
    for the expression without upper bounds first, which compiles and searches several times as
    fast, unless it counts little. The expression itself is compiled for the first text in which
    that matches.
    """

    def __init__(self, pattern: str, *, ignore_case: bool, whole_words: bool = False) -> None:
        """Take the expression.

        Args:
            pattern: an expression that does not match the empty text, with one named group at most.
            ignore_case: True to ignore the case of ASCII letters.
            whole_words: True to find only matches after another byte that no ASCII letter or digit
                touches. The expression has no named group then.
        """
        self._overlap = int(whole_words)  # the byte after a match may be the one before the next
        if whole_words:
            pattern = rf"[^A-Za-z0-9](?P<word>{pattern})(?:[^A-Za-z0-9]|\Z)"
        self._pattern, self._ignore_case = pattern, ignore_case
        self._more = _match_more(pattern)

    def finditer(self, data: bytes, low: int, high: int) -> Iterator[Occurrence]:
        """Find the matches in a range of a text, one after the other.

        As with `re`, the range ends the text, and does not begin it.

        Raises:
            ValueError: RE2 does not take the expression.
        """
        at = min(low, 1)  # the byte before tells whether a word begins
        moved = low - at
        text = data[moved:high]
        at = max(0, at - self._overlap)
        ignore_case = self._ignore_case
        if at > len(text) or (
            self._more and EXPRESSIONS[self._more, ignore_case][0](text, at) is None
        ):
            return
        search, number, _ = EXPRESSIONS[self._pattern, ignore_case]
        while at <= len(text) and (match := search(text, at)) is not None:
            group = match.span(number)
            start, end = group if self._overlap else match.span()
            has_group = number and not self._overlap and group[0] >= 0
            yield Occurrence(
                (moved + start, moved + end),
                (moved + group[0], moved + group[1]) if has_group else None,
                text[start:end],
            )
            at = max(end, start + 1) - self._overlap


def as_ascii(text: str) -> bytes | None:
    """A byte for each character of a text, `?` for a non-ASCII sign; None if it has such letters.

    Expressions that name no such sign read both alike, but for spaces that only `re` knows.
    """
    if any(separator in text for separator in "\x1c\x1d\x1e\x1f"):
        return None
    if text.isascii():
        return text.encode()
    wide = text.encode("utf-8", "replace").translate(None, _ASCII).decode()
    is_letter = any(sign.isalnum() or sign.isspace() for sign in set(wide))
    return None if is_letter else text.encode("ascii", "replace")


def find_signed(
    expression: re.Pattern[str],
    sign: str,
    text: str,
    *,
    before: int = 0,
    after: int | None = None,
) -> Iterator[re.Match[str]]:
    """Find the matches of an expression of `re`, trying it only at its signs if those are few.

    Args:
        expression: to find.
        sign: an expression for ASCII; each match begins in one of its matches, or has one.
        text: with any characters.
        before: characters from the beginning of a match to its sign, at most.
        after: characters from the end of the sign to that of the match, at most; None for any.
    """
    data, at = as_ascii(text), 0
    if data is None:
        yield from expression.finditer(text)
        return
    for number, found in enumerate(cached_finder(sign).finditer(data, 0, len(data))):
        start, end = found.span
        at = max(at, start - before)
        if number > FEW_SIGNS and number * SIGN_CHARS > start:
            yield from expression.finditer(text, at)
            return
        while match := _match_span(expression, text, (at, end), after):
            yield match
            at = match.end()


def _match_span(
    expression: re.Pattern[str], text: str, span: Range, after: int | None
) -> re.Match[str] | None:
    """The first match that begins in a range, and ends at most `after` behind it."""
    start, end = span
    if after is None:
        return next(filter(None, (expression.match(text, at) for at in range(start, end))), None)
    match = expression.search(text, start, end + after)
    return match if match and match.start() < end else None


def occurs(expression: re.Pattern[str] | re.Pattern[bytes], text: str | bytes) -> bool:
    """True if an expression of `re` has a match in a text; RE2 rules out most texts faster.

    Args:
        expression: without lookarounds, other than for a class of characters at its ends.
        text: of the expression's type.
    """
    data = as_ascii(text) if isinstance(text, str) else text
    if data is None:
        return expression.search(text) is not None  # type: ignore[arg-type]
    return any(_without_lookarounds(expression).finditer(data, 0, len(data)))


@cache
def _without_lookarounds(expression: re.Pattern[str] | re.Pattern[bytes]) -> Finder:
    pattern = expression.pattern
    words = pattern if isinstance(pattern, str) else pattern.decode()
    words = _END.sub(lambda end: rf"(?:{'^' if end[1] else '$'}|[^{end[2]}])", words)
    return Finder(words, ignore_case=bool(expression.flags & re.IGNORECASE))


@lru_cache(4096)  # several engines run the same rules
def _match_more(pattern: str) -> str:
    """The expression without upper bounds; empty if that changes little."""
    more = unbound(pattern)
    copies = sum(int(most) for _, most in BOUNDED.findall(pattern) if most)
    if more == pattern or copies * COPY_CHARS < len(pattern):
        return ""
    return NAMED_GROUP.sub("(?:", more)


class _Expressions(dict[tuple[str, bool], _Compiled]):
    """Compiled expressions, of which those that no recent message was searched for are dropped.

    An automaton grows as it reads. Of two generations, the older one is dropped once the younger
    one is full, but not before so many bytes were judged that compiling all expressions again
    takes about as long: a text may have signs of hundreds of rules.
    """

    def __init__(self) -> None:
        self._old: dict[tuple[str, bool], _Compiled] = {}
        self._judged_bytes = 0

    def __missing__(self, key: tuple[str, bool]) -> _Compiled:
        self[key] = found = self._old.pop(key, None) or _compile(*key)
        return found

    def begin_message(self, size: int) -> None:
        """Count a message of so many bytes; drop the older generation if it is time."""
        self._judged_bytes += size
        if self._judged_bytes >= GENERATION_BYTES and len(self) >= GENERATION:
            self._old, self._judged_bytes = self.copy(), 0
            self.clear()
            return_freed_memory()


EXPRESSIONS = _Expressions()


def _compile(pattern: str, ignore_case: bool) -> _Compiled:  # noqa: FBT001  a key
    """RE2's search for an expression, the index of its named group or 0, and its program's size."""
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes are bytes
    options.case_sensitive = not ignore_case
    options.never_capture = "(?P<" not in pattern
    options.log_errors = False
    options.max_mem = MEMORY_BYTES
    try:
        expression = re2.compile(_TOKEN.sub(_in_re2, pattern.encode()), options)
    except re2.error as error:
        raise ValueError(error.args[0].decode("utf-8", "replace")) from None
    re2.purge()  # else it keeps the last 128
    group = next(iter(expression.groupindex.values()), 0)
    return expression.search, group, expression.programsize


def _in_re2(token: re.Match[bytes]) -> bytes:
    if token[0].startswith(b"["):
        return token[0].replace(rb"\s", rb"\s\v")
    return _IN_RE2.get(token[0], token[0])


@cache
def cached_finder(pattern: str) -> Finder:
    """The finder of an expression, in any case."""
    return Finder(pattern, ignore_case=True)
