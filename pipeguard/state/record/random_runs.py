"""Runs of characters in a text that look random, whatever they are. Knows no rules."""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.detect.checks.placeholders import is_placeholder
from pipeguard.firewall.lazy_regex import lazy_regex

LEAST_RUN = 8  # characters: half of the shortest keys
SHORT_RUN, SHORT_TURN = 10, 2.7  # characters; a shorter run needs more turns
LONG_RUN, LONG_TURN = 16, 5.0  # a longer run may have fewer
LEAST_LETTERS = 12  # without a vowel among many
LEAST_TURNS, TURN = 4, 3.6  # changes between letters, capitals and digits; characters for each

UUID_CHARS = 36
BLOB_CHARS = 256  # of a longer one no part is a word
UUID = lazy_regex("[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_RUN = lazy_regex(
    # A UUID, and the name of a verdict (firewall.finding.Verdict).
    rf"(?<![0-9A-Za-z])(?:{UUID.pattern}(?![0-9A-Za-z])|[A-Z0-9]{{8}}(?=\.[a-z]{{1,2}}[0-9]))"
    r"|([A-Za-z0-9]+(?:[-_+/][A-Za-z0-9]+)*)"
)
_PIECE = lazy_regex(r"[A-Za-z0-9]+")
_PLAIN = lazy_regex(r"(?:[A-Z]?[a-z]*|[A-Z]+)[0-9]{0,4}|[0-9]+[a-zA-Z]?")
_WORD = lazy_regex(r"[A-Z]?[a-z]{2,}")
_CHUNK = lazy_regex(r"[A-Z]+[a-z]*|[a-z]+|[0-9]+")
_NO_WORD = lazy_regex(r"[b-df-hj-np-tv-xz]{7}|[B-DF-HJ-NP-TV-XZ]{7}")
_LONG_HEX = lazy_regex(r"(?=.{0,31}[0-9])(?:[0-9a-f]{16,}|[0-9A-F]{16,})")


def find_random_runs(text: str) -> Iterator[tuple[int, int]]:
    """Find the runs in a text that look random: the start and end of each."""
    for run in _RUN.finditer(text):
        if run[1] is None or len(run[1]) >= BLOB_CHARS:
            yield from (run.span(1),) if run[1] else ()
            continue
        first = last = 0
        for piece in _PIECE.finditer(text, *run.span()):
            if _PLAIN.fullmatch(piece[0]) and not _NO_WORD.search(piece[0]):
                yield from _check_run(text, first, last)
                last = 0
            else:
                first, last = first if last else piece.start(), piece.end()
        yield from _check_run(text, first, last)


def _check_run(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    size = end - start
    if size < LEAST_RUN:
        return
    run = text[start:end]
    words = _WORD.findall(run)
    turns = len(_CHUNK.findall(run)) - 0.4 * len(words)
    most = SHORT_TURN if size < SHORT_RUN else TURN if size < LONG_RUN else LONG_TURN
    has_turns = turns >= LEAST_TURNS and size <= most * turns
    is_one_case = run.isupper() or run.islower()
    has_digits = _LONG_HEX.search(run) or (
        size >= LEAST_LETTERS and is_one_case and _NO_WORD.search(run)
    )
    if (has_turns or has_digits) and not is_placeholder(run.encode()):
        yield start, end
