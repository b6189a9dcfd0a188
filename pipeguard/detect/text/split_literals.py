"""A program's string literals, read as the program would join them.

`"AKIA" + "Z7QX"` contains a key that the text does not. Knows how programs write literals next to
each other, and no programming language; rules know the meaning of the joined text.
"""

from collections.abc import Iterator
from itertools import chain
from re import Match

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.folding import Range

FEW_LITERALS = 64  # with more, some fit together by chance
SHORTEST_MENTION = 3  # characters of a beginning that a text names before it shows a whole
SHORTEST_WHOLE = 16

# A literal that may be a piece of a secret, for Hyperscan: with a digit next to a letter, the small
# and capital letters of no name, or a long number; or of hardly any letters.
_OF_SECRETS = "[A-Za-z0-9+/=_.:$~%-]*"
SIGN = (
    rf"[\x22'`](?:{_OF_SECRETS}(?:[0-9][A-Za-z]|[A-Za-z][0-9]|[0-9]{{9}}"
    rf"|(?:[a-z][A-Z]{{1,2}}){{2}}[a-z]{{1,2}}[A-Z]){_OF_SECRETS}|[A-Za-z0-9]{{1,2}})[\x22'`]"
)
# The end of a literal, an operator of any language or brackets, and the start of the next literal
# with its prefix.
_GLUE = lazy_regex(
    rb"[\"'`](?:\s{0,40}[^\w\s\"'`]{1,8}\s{0,40}|\s{1,40})(?:[bBfFrRuU]{1,2}(?=[\"'`]))?[\"'`]"
)
# The sign before a quote is checked after it, so that `re` looks only for quotes.
_LITERALS = lazy_regex(rb"\"[^\"\n]{1,256}+\"|'(?<![A-Za-z0-9]')[^'\n]{1,256}+'|`[^`\n]{1,256}+`")


def joined_literals(text: bytes, low: int, high: int) -> Iterator[tuple[list[Range], bool]]:
    """Read a part of a text as if a program had joined its literals.

    Yields:
        The ranges that remain; True if there are so many literals that some fit together by chance.
        First without the operators between literals; then with only the literals, for
        those that a program appends line by line.
    """
    if glue := [*map(Match.span, _GLUE.finditer(text, low, high))]:
        edges = [low, *chain.from_iterable(glue), high]
        yield list(zip(edges[::2], edges[1::2], strict=True)), False
    found = _LITERALS.finditer(text[low:high])  # the first quote may follow a letter
    spans = [(low + a + 1, low + b - 1) for a, b in map(Match.span, found)]
    contents = [  # but for a beginning that the next one has, as "`AKIA`, e.g. `AKIA…`"
        (start, end)
        for (start, end), (first, last) in zip(spans, [*spans[1:], (0, 0)], strict=False)
        if end - start < SHORTEST_MENTION
        or last - first < SHORTEST_WHOLE
        or not text.startswith(text[start:end], first, last)
    ]
    if len(contents) > 1:
        yield contents, len(contents) > FEW_LITERALS
