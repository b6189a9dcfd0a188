"""What each rule costs, over texts that it should have nothing to do with.

Measured by itself: the rule's pattern alone in the scan engine, then its own expression where the
engine says that it could match. So a share is of a pass over all rules, which is less than their
sum. The texts ship with Python, and JSON is made of them. Measures; decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from inspect import getsource
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.core.digest import sha256
from pipeguard.core.matching.confirm import Finder
from pipeguard.core.matching.pattern_set import PatternGroup, PatternSet, compile_group
from pipeguard.core.model.cascade import Opened, Reader
from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules.rule import View
from pipeguard.core.scanning.match import MAX_MATCHES_PER_RULE
from pipeguard.core.scanning.rule_partition import home
from pipeguard.core.text.budgets import Budgets
from pipeguard.core.text.windowing import BLOCK_BYTES
from pipeguard.rulebook.proof import USUAL_PLACE, frame_value

if TYPE_CHECKING:
    from pipeguard.core.rules.rule import Rule
    from pipeguard.core.scanning.engine import Engine
    from pipeguard.core.session.guard import Engines

TEXT_BYTES = 128 * 1024  # of each kind
TIMES = 3  # each is measured; the least counts
MOST_SHARE = 0.10  # of a pass
MOST_READING = 0.5  # of a pass, for a classifier
MOST_FALSE = 0.25  # of the blocks of a text
_MODULES = ("argparse", "typing", "inspect", "tarfile", "configparser", "mailbox")


class Share(NamedTuple):
    """What a rule costs over one kind of text.

    Attributes:
        seconds: that it takes.
        confirming: of these, in the rule's own expression and not in the engine.
        share: of a pass over all rules.
        candidates: blocks in which it could match, says the engine.
        false: those of them in which it does not.
        blocks: of the text.
    """

    seconds: float
    confirming: float
    share: float
    candidates: int
    false: int
    blocks: int


class Cost(NamedTuple):
    """What a rule costs.

    Attributes:
        rule: its id.
        kinds: by kind of text.
        warnings: what is too much, and what to do about it.
    """

    rule: str
    kinds: dict[str, Share]
    warnings: tuple[str, ...]

    @property
    def worst(self) -> float:
        """Its greatest share."""
        return max((one.share for one in self.kinds.values()), default=0.0)


class _Done(NamedTuple):
    """What came of one run over a text.

    Attributes:
        candidates: blocks in which the rule could match.
        false: those of them in which it does not.
        confirming: seconds that it took to tell.
    """

    candidates: int = 0
    false: int = 0
    confirming: float = 0.0


_Work = Callable[[Sequence[bytes]], _Done]


def costs(rules: Iterable[Rule], homes: Iterable[Engine], engines: Engines) -> Iterator[Cost]:
    """Measure some rules, one after the other.

    Rules that only read what arguments do are left out: that is a few lines, and costs nothing.

    Args:
        rules: to be measured.
        homes: engines that hold them.
        engines: of all rules, whose pass the shares are of.
    """
    known = {engine.surface: engine for engine in homes}
    whole = {surface: _passes(engines, surface) for surface in Surface}
    for rule in rules:
        if rule.views <= {View.ACTS}:
            continue
        surface = _surface(rule)
        work = _reading(rule, known[home(rule, surface)]) if rule.model else _matching(rule)
        kinds = {}
        for kind, blocks in samples().items():
            seconds, done = _least(work, blocks)
            share = seconds / whole[surface][kind]
            kinds[kind] = Share(
                seconds, done.confirming, share, done.candidates, done.false, len(blocks)
            )
        yield Cost(rule.id, kinds, tuple(_warnings(rule, kinds)))


@cache
def samples() -> dict[str, list[bytes]]:
    """The texts by their kind, in the blocks in which the engine reads them."""
    topics: dict[str, str] = import_module("pydoc_data.topics").topics
    prose = "\n".join(topics.values())
    code = "\n".join(getsource(import_module(name)) for name in _MODULES)
    records = json.dumps(list(islice(_records(prose), TEXT_BYTES // 200)), indent=1)
    return {kind: _blocks(text) for kind, text in zip(KINDS, (prose, code, records), strict=True)}


KINDS = ("prose", "code", "JSON")


def _records(prose: str) -> Iterator[dict[str, object]]:
    """As an API or a lock file has them: ids, dates, addresses, hashes, words."""
    words = prose.split()
    for index in range(len(words) // 12):
        some = words[12 * index : 12 * index + 12]
        name = "".join(filter(str.isalnum, some[0])).lower() or "item"
        digest = sha256(name.encode() + bytes([index % 256])).hexdigest()
        yield {
            "id": 10_000 + 37 * index,
            "uuid": "-".join(
                (digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32])
            ),
            "name": name,
            "version": f"{index % 9}.{index % 13}.{index % 7}",
            "updated_at": f"2026-0{1 + index % 9}-{10 + index % 18}T08:{10 + index % 49}:00Z",
            "url": f"https://api.example.com/v1/{name}/{digest[:12]}?page={index % 40}",
            "integrity": f"sha256-{digest}",
            "description": " ".join(some),
            "enabled": index % 3 > 0,
        }


def _blocks(text: str) -> list[bytes]:
    data = text.encode("utf-8")[:TEXT_BYTES]
    return [data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES)]


def _surface(rule: Rule) -> Surface:
    """Where most text is: results, else arguments, else definitions."""
    order = (Surface.TO_CLIENT, Surface.TO_SERVER, Surface.DEFINITIONS)
    return next(surface for surface in order if surface in rule.surfaces)


def _passes(engines: Engines, surface: Surface) -> dict[str, float]:
    """How long it takes to judge each text by all rules."""
    place = USUAL_PLACE[surface]

    def judge(blocks: Sequence[bytes]) -> _Done:
        value = frame_value(surface, b"".join(blocks).decode("utf-8", "replace"), "input")
        for engine in engines.over(surface):
            engine.scan(value, lambda _: place, surface)
        return _Done()

    return {kind: _least(judge, blocks)[0] for kind, blocks in samples().items()}


def _matching(rule: Rule) -> _Work:
    """The pattern alone: the engine's pass, then the rule's own expression where it hits."""
    group = PatternGroup(0, ((rule.sign or rule.pattern, rule.ignore_case),))
    patterns = PatternSet.of([compile_group(group)])
    finder = Finder(rule.pattern, ignore_case=rule.ignore_case)

    def work(blocks: Sequence[bytes]) -> _Done:
        hits = [block for block in blocks if patterns.look(block)]
        left, false = MAX_MATCHES_PER_RULE, 0
        began = perf_counter()
        for block in hits:  # as in a scan: after so many, the rule is not asked any more
            count = sum(1 for _ in islice(finder.finditer(block, 0, len(block)), left))
            left, false = left - count, false + (not count)
            if not left:
                break
        return _Done(len(hits), false, perf_counter() - began)

    return work


def _reading(rule: Rule, engine: Engine) -> _Work:
    """The gate over the whole text, then the classifier, as much as of one message."""
    classifier = engine.lookup.classifier(rule)

    def work(blocks: Sequence[bytes]) -> _Done:
        data = b"".join(blocks)
        found = engine.gate.stretches(data) if engine.gate is not None else []
        began = perf_counter()
        budgets = Budgets()
        budgets.grow(len(data), classified=True)
        read = Reader(len(data), budgets).read([Opened(data, found)], classifier)
        false = sum(piece.score < classifier.likely for *_, piece in read)
        seconds = perf_counter() - began
        return _Done(min(len(found), len(blocks)), min(false, len(blocks)), seconds)

    return work


def _least(work: _Work, blocks: Sequence[bytes]) -> tuple[float, _Done]:
    """The shortest of some runs: what else the machine does only adds to one."""
    runs = []
    for _ in range(TIMES):
        began = perf_counter()
        found = work(blocks)
        runs.append((perf_counter() - began, found))
    return min(runs)


def _warnings(rule: Rule, kinds: dict[str, Share]) -> Iterator[str]:
    most = MOST_READING if rule.model else MOST_SHARE
    slow = {kind: one for kind, one in kinds.items() if one.share > most}
    if slow:
        told = ", ".join(f"{one.share:.0%} over {kind}" for kind, one in slow.items())
        confirms = any(one.confirming > one.seconds / 2 for one in slow.values())
        what = GATED if rule.model else CONFIRMS if confirms else SLOW
        yield f"takes {told} of a pass: {what}"
    if rule.model:
        return
    often = [
        f"{one.false} of {one.blocks} blocks of {kind}"
        for kind, one in kinds.items()
        if one.false > MOST_FALSE * one.blocks
    ]
    if often:
        yield f"could match in {', '.join(often)}, and does not: {COMMON}"


SLOW = (
    "begin its pattern with fixed letters that are rare; shorten classes with a long repeat, as"
    " `[a-z]{0,60}`, and take apart what begins with `\\b(?:...)`"
)
CONFIRMS = (
    "its own expression is slow where the engine says that it could match: give it fewer"
    " alternatives, each with fixed letters at its beginning, or make several rules of it"
)
GATED = "the gate opens for too many words, or the classifier reads too much behind it"
COMMON = (
    "let what it begins with be longer or rarer, or give as `sign` something that is there wherever"
    " it matches, and seldom else"
)
