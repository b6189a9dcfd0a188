"""Time a Session takes to judge one frame: small and large, ordinary and hostile."""

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from statistics import median

from benchmarks.detection.play import Conversation
from benchmarks.frames.corpus import MEGABYTE, alphabet_text, cut, hostile, prose, text_result
from pipeguard.detect.detector import Engines

SMALL_BYTES, SMALL = 10_000, 60  # of a page; pages
LARGE = 5  # times that each megabyte is judged
CYRILLIC, IDEOGRAPHS = range(0x430, 0x450), range(0x4E00, 0x9FA0)
FROM_HOSTILE = {
    "attacks": "dense-attack",
    "near misses": "near-miss",
    "base64": "base64",
    "base64 in lines": "base64-lines",
    "nested JSON": "deep-nesting",
    "code": "code",
    "JSON": "json-items",
}
HEADS = ("text, as a result", "median ms", "slowest", "frames")


def pages() -> Iterator[object]:
    """Results with prose, each from another place of a book."""
    dice = Random(5)
    text = prose()
    for _ in range(SMALL):
        start = dice.randrange(len(text) - SMALL_BYTES)
        yield text_result(text[start : start + SMALL_BYTES])


def megabytes() -> Iterator[tuple[str, object]]:
    """A result of a megabyte of each kind."""
    texts: dict[str, Callable[[], str]] = {
        "prose": prose,
        "Cyrillic": lambda: alphabet_text(CYRILLIC),
        "ideographs": lambda: alphabet_text(IDEOGRAPHS, spaced=False),
    }
    for name, text in texts.items():
        yield name, text_result(cut(text(), MEGABYTE))
    for name, kind in FROM_HOSTILE.items():
        value = json.loads(hostile()[kind]())
        shown = text_result(value) if isinstance(value, str) else {"structuredContent": value}
        yield name, {"content": [], **shown}


def rows(rules: Engines) -> Iterator[list[str]]:
    """A row for each kind of text; each is judged once before, so that all is loaded."""
    yield _row("10 KB of prose", list(pages()), 1, rules)
    for name, value in megabytes():
        yield _row(f"1 MB of {name}", [value], LARGE, rules)


def _row(name: str, values: Sequence[object], times: int, rules: Engines) -> list[str]:
    for value in values:
        _seconds(value, rules)
    taken = [1000 * _seconds(value, rules) for value in values for _ in range(times)]
    return [name, f"{median(taken):,.2f}", f"{max(taken):,.2f}", str(len(taken))]


def _seconds(value: object, rules: Engines) -> float:
    talk = Conversation(rules)
    talk.open({}, [{"name": "read", "inputSchema": {"type": "object"}}])
    talk.ask("tools/call", {"name": "read", "arguments": {}})
    return talk.answer(json.loads(json.dumps(value))).seconds
