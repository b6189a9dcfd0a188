"""The cost of each rule over texts without a match.

A rule is measured alone: its pattern in Hyperscan, then its own expression on the blocks where
Hyperscan says that it could match. Its share is of a pass over all rules, which costs less than the
sum of the rules. The texts ship with Python, and JSON is made from them. Decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib import import_module
from inspect import getsource
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.detect.matching.confirm import Finder
from pipeguard.detect.matching.pattern_set import PatternGroup, PatternSet, compile_group
from pipeguard.detect.model.cascade import Reader, Selection
from pipeguard.detect.model.sentences import find_best
from pipeguard.detect.rules.rule import View
from pipeguard.detect.scanning.rule_groups import choose_engine
from pipeguard.detect.scanning.scan_budget import MAX_MATCHES_PER_RULE
from pipeguard.detect.text.windowing import BLOCK_BYTES
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.proof import USUAL_PLACE, frame_value

if TYPE_CHECKING:
    from pipeguard.detect.detector import Engines
    from pipeguard.detect.rules.rule import Rule
    from pipeguard.detect.scanning.engine import Engine

TEXT_BYTES = 128 * 1024  # of each kind
RUNS = 3  # of each measurement; the shortest counts
MOST_SHARE = 0.10  # of a pass
MOST_CLASSIFIER_SHARE = 0.5  # of a pass
MOST_FALSE = 0.25  # of the blocks of a text
_MODULES = ("argparse", "typing", "inspect", "tarfile", "configparser", "mailbox")


class Share(NamedTuple):
    """The cost of a rule over one kind of text.

    Attributes:
        seconds: the time it takes.
        confirming: the part of it in the rule's own expression and not in Hyperscan.
        share: the time by that of a pass over all rules.
        candidates: blocks in which it could match, by Hyperscan.
        false: those in which it then does not.
        blocks: all of the text's.
    """

    seconds: float
    confirming: float
    share: float
    candidates: int
    false: int
    blocks: int


class Cost(NamedTuple):
    """The cost of a rule.

    Attributes:
        rule: its id.
        kinds: its share by the kind of text.
        warnings: what is too much, and what to do about it.
    """

    rule: str
    kinds: dict[str, Share]
    warnings: tuple[str, ...]

    @property
    def worst(self) -> float:
        """Its greatest share."""
        return max((share.share for share in self.kinds.values()), default=0.0)


class _RunResult(NamedTuple):
    """The counts of one run over a text.

    Attributes:
        candidates: blocks in which the rule could match.
        false: those in which it then does not.
        confirming: seconds in the rule's own expression.
    """

    candidates: int = 0
    false: int = 0
    confirming: float = 0.0


_Work = Callable[[Sequence[bytes]], _RunResult]


def costs(rules: Iterable[Rule], homes: Iterable[Engine], engines: Engines) -> Iterator[Cost]:
    """Measure rules one after the other, except rules that only read the effects of arguments.

    What arguments do is a few lines, so such a rule costs nothing.

    Args:
        rules: the rules to measure.
        homes: the engines that run them.
        engines: of all rules; the shares are of their pass.
    """
    engine_of = {engine.surface: engine for engine in homes}
    whole = {surface: _passes(engines, surface) for surface in Surface}
    for rule in rules:
        if rule.views <= {View.ACTS}:
            continue
        surface = _surface(rule)
        engine = engine_of[choose_engine(rule, surface)]
        work = _reading(rule, engine) if rule.model else _matching(rule)
        kinds = {}
        for kind, blocks in samples().items():
            seconds, (candidates, false, confirming) = _shortest(work, blocks)
            share = seconds / whole[surface][kind]
            kinds[kind] = Share(seconds, confirming, share, candidates, false, len(blocks))
        yield Cost(rule.id, kinds, tuple(_warnings(rule, kinds)))


@cache
def samples() -> dict[str, list[bytes]]:
    """The texts by their kind, in the blocks that an engine reads."""
    topics: dict[str, str] = import_module("pydoc_data.topics").topics
    prose = "\n".join(topics.values())
    code = "\n".join(getsource(import_module(name)) for name in _MODULES)
    records = json.dumps(list(islice(_records(prose), TEXT_BYTES // 200)), indent=1)
    return {kind: _blocks(text) for kind, text in zip(KINDS, (prose, code, records), strict=True)}


KINDS = ("prose", "code", "JSON")


def _records(prose: str) -> Iterator[dict[str, object]]:
    """Records as an API or a lock file has them: ids, dates, URLs, hashes, words."""
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
    """The surface of a rule with the most text: results, else arguments, else definitions."""
    order = (Surface.TO_CLIENT, Surface.TO_SERVER, Surface.DEFINITIONS)
    return next(surface for surface in order if surface in rule.surfaces)


def _passes(engines: Engines, surface: Surface) -> dict[str, float]:
    """The seconds that a pass of all rules over each text takes."""
    place = USUAL_PLACE[surface]

    def judge(blocks: Sequence[bytes]) -> _RunResult:
        value = frame_value(surface, b"".join(blocks).decode("utf-8", "replace"), "input")
        for engine in engines.over(surface):
            engine.scan(value, lambda _: place, surface)
        return _RunResult()

    return {kind: _shortest(judge, blocks)[0] for kind, blocks in samples().items()}


def _matching(rule: Rule) -> _Work:
    """The work of a pattern: a pass of Hyperscan, then the rule's own expression at each hit."""
    group = PatternGroup((0,), ((rule.sign or rule.pattern, rule.ignore_case),))
    patterns = PatternSet.of([compile_group(group)])
    finder = Finder(rule.pattern, ignore_case=rule.ignore_case)

    def work(blocks: Sequence[bytes]) -> _RunResult:
        hits = [block for block in blocks if patterns.look(block)]
        left, false = MAX_MATCHES_PER_RULE, 0
        began = perf_counter()
        for block in hits:  # a scan, too, stops after so many matches
            count = sum(1 for _ in islice(finder.finditer(block, 0, len(block)), left))
            left, false = left - count, false + (not count)
            if not left:
                break
        return _RunResult(len(hits), false, perf_counter() - began)

    return work


def _reading(rule: Rule, engine: Engine) -> _Work:
    """The work of a classifier: the opener over the text, then as much as of one message."""
    classifier = engine.classifier(rule)

    def work(blocks: Sequence[bytes]) -> _RunResult:
        data = b"".join(blocks)
        stretches = engine.opener.stretches(data) if engine.opener is not None else []
        began = perf_counter()
        budgets = Budgets(len(data))
        read = Reader(len(data), budgets).read([Selection(data, stretches)], classifier)
        false = sum(find_best(passage.pieces).score < classifier.likely for passage in read)
        seconds = perf_counter() - began
        return _RunResult(min(len(stretches), len(blocks)), min(false, len(blocks)), seconds)

    return work


def _shortest(work: _Work, blocks: Sequence[bytes]) -> tuple[float, _RunResult]:
    """The time and result of the shortest of some runs: other load only adds to a run."""
    runs = []
    for _ in range(RUNS):
        began = perf_counter()
        result = work(blocks)
        runs.append((perf_counter() - began, result))
    return min(runs)


def _warnings(rule: Rule, kinds: dict[str, Share]) -> Iterator[str]:
    most = MOST_CLASSIFIER_SHARE if rule.model else MOST_SHARE
    slow = {kind: share for kind, share in kinds.items() if share.share > most}
    if slow:
        shares = ", ".join(f"{share.share:.0%} over {kind}" for kind, share in slow.items())
        confirms = any(share.confirming > share.seconds / 2 for share in slow.values())
        what = GATED if rule.model else CONFIRMS if confirms else SLOW
        yield f"takes {shares} of a pass: {what}"
    if rule.model:
        return
    often = [
        f"{share.false} of {share.blocks} blocks of {kind}"
        for kind, share in kinds.items()
        if share.false > MOST_FALSE * share.blocks
    ]
    if often:
        yield f"could match in {', '.join(often)}, and does not: {COMMON}"


SLOW = (
    "begin its pattern with rare fixed letters; shorten classes with a long repeat, such as"
    " `[a-z]{0,60}`, and split what begins with `\\b(?:...)`"
)
CONFIRMS = (
    "its own expression is slow on the blocks where it could match: give it fewer alternatives,"
    " each with fixed letters at its beginning, or split the rule"
)
GATED = "its opener opens too much, or the classifier reads too much behind it"
COMMON = (
    "begin it with something longer or rarer, or give it a `sign` that is in whatever it matches,"
    " and seldom in other texts"
)
