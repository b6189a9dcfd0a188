"""Nanoseconds a byte of each Hyperscan database, and of each of its patterns alone.

A database is as fast as its patterns have rare letters, so one pattern can cost as much as hundreds
of others. One that adds more than MOST_NS needs a reason in costly.yaml. A pattern is measured in a
database of its own, minus one that matches nothing, in units of a usual pattern, since machines
differ by a factor of two; times are of CPU, the least of several runs.
Leaving it out of its database would tell less: Hyperscan then divides all others otherwise, and the
database without a pattern is sometimes slower.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from math import inf
from pathlib import Path
from statistics import fmean
from time import thread_time_ns
from typing import TYPE_CHECKING, NamedTuple

import yaml

from benchmarks.frames.figures import table
from benchmarks.rules.cost import KINDS, samples
from pipeguard.detect.matching.pattern_set import PatternGroup, PatternSet, compile_group
from pipeguard.detect.scanning.engine import collect_patterns
from pipeguard.detect.scanning.readings import SIGNS, SIGNS_TO_SERVER, SQUEEZED_SIGNS
from pipeguard.detect.scanning.rule_groups import EngineRules
from pipeguard.detect.text.windowing import BLOCK_BYTES
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.packs import model

if TYPE_CHECKING:
    from pipeguard.detect.rules.rule import Rule

COSTLY = Path(__file__).with_name("costly.yaml")
MOST_NS = 0.25  # of one pattern for each byte, the mean of the kinds of text
NOISE = 1.5  # times as much as costly.yaml says is no news
BLOCKS = 8  # of each kind of text
SIZES = (200, BLOCK_BYTES)  # bytes of a block
RUNS = 8  # of each measurement; the least counts
ROUNDS = 3  # of measurements, the second and third of what seems to cost too much
NOTHING = PatternGroup((0,), (("qzxjqzxjvkq", False),))  # is in none of the texts
# A word like those of orders, whose cost says how fast this machine is at the moment.
USUAL = PatternGroup(
    (0,), ((r"\b(?:every|all|the) [a-z]{2,9} of (?:your|its|these) [a-z]{4,}ed", True),)
)
USUAL_NS = 0.3  # for each byte of prose, on a quiet machine

Pattern = tuple[str, bool]


class Database(NamedTuple):
    """The patterns of one database.

    Attributes:
        engines: that have it.
        names: of its patterns: ids of rules, or names of signs.
        patterns: each with `ignore_case`.
        tables: with which C finds the same; empty if it does not.
        is_squeezed: True if texts are without spaces.
    """

    engines: list[str]
    names: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    tables: bytes
    is_squeezed: bool

    @property
    def title(self) -> str:
        """The engines, and what the patterns are of."""
        packs = dict.fromkeys(name.partition(".")[0] for name in self.names)
        what = ", ".join([*packs][:3]) + (", …" if len(packs) > 3 else "")
        without = " without spaces" if self.is_squeezed else ""
        return f"{' + '.join(self.engines)}{without}: {what}"


def databases(rules: Sequence[Rule]) -> list[Database]:
    """All databases for texts, each once; the effects of arguments are a few lines."""
    found: dict[tuple[Pattern, ...], Database] = {}
    for surface in Surface:
        compiled = collect_patterns(rules, surface, model)
        own = EngineRules(lambda: rules, surface)
        plain = [*SIGNS, *SIGNS_TO_SERVER, *(rule.id for rule in own.plain)]
        squeezed = [*SQUEEZED_SIGNS, *(rule.id for rule in own.squeezed_rules)]
        for groups, names in ((compiled.plain, plain), (compiled.squeezed, squeezed)):
            for ids, patterns, tables in groups:
                named = tuple(names[id_] for id_ in ids)
                new = Database([], named, patterns, tables, is_squeezed=names is squeezed)
                found.setdefault(patterns, new).engines.append(surface.value)
    return [*found.values()]


def show(rules: Sequence[Rule]) -> str:
    """Measure the databases, and return a table."""
    heads = ("ns/B", "patterns", *(f"{kind} {size}" for size in SIZES for kind in KINDS))
    rows = []
    for each in databases(rules):
        group = PatternGroup(tuple(range(len(each.patterns))), each.patterns, each.tables)
        patterns = PatternSet.of([compile_group(group)])
        texts = (_texts(size, is_squeezed=each.is_squeezed).values() for size in SIZES)
        figures = (least([patterns], blocks)[0] for blocks in chain(*texts))
        rows.append([each.title, str(len(each.patterns)), *(f"{ns:.1f}" for ns in figures)])
    return table("Databases, with the fixed cost of a scan", heads, rows)


class _Alone(NamedTuple):
    """A pattern in a database of its own, with the texts to search by their kind."""

    name: str
    patterns: PatternSet
    texts: Mapping[str, Sequence[bytes]]


def costs(rules: Sequence[Rule], allowed: Mapping[str, float]) -> dict[str, float]:
    """Measure each pattern alone: nanoseconds a byte by its name, of several the greatest.

    Without those of definitions, which are short and read once. Other load only adds, so patterns
    that seem to cost too much are measured again.
    """
    nothing, usual = (PatternSet.of([compile_group(group)]) for group in (NOTHING, USUAL))
    prose = _texts(BLOCK_BYTES, is_squeezed=False)["prose"]
    every = list(_patterns(rules))
    own_ns = [[inf] * len(KINDS) for _ in every]
    added, usual_ns, base_ns = [inf] * len(every), inf, inf
    for _ in range(ROUNDS):
        costly = [is_costly(each.name, ns, allowed) for each, ns in zip(every, added, strict=True)]
        for number in (at for at, is_one in enumerate(costly) if is_one):
            _, patterns, texts = every[number]
            taken = (least([patterns], blocks)[0] for blocks in texts.values())
            own_ns[number] = list(map(min, own_ns[number], taken))
            other, base = least([usual, nothing], prose)
            usual_ns, base_ns = min(usual_ns, other), min(base_ns, base)
        scale = USUAL_NS / (usual_ns - base_ns)
        added = [(fmean(own) - base_ns) * scale for own in own_ns]
    found = defaultdict[str, float](float)
    for each, ns in zip(every, added, strict=True):
        found[each.name] = max(ns, found[each.name])
    return found


def _patterns(rules: Sequence[Rule]) -> Iterator[_Alone]:
    for each in databases(rules):
        texts = _texts(BLOCK_BYTES, is_squeezed=each.is_squeezed)
        if each.engines != [Surface.DEFINITIONS.value]:
            for name, pattern in zip(each.names, each.patterns, strict=True):
                alone = compile_group(PatternGroup((0,), (pattern,)))
                yield _Alone(name, PatternSet.of([alone]), texts)


def reasons() -> dict[str, float]:
    """What costly.yaml says that patterns may cost."""
    groups = yaml.safe_load(COSTLY.read_text("utf-8"))
    return {name: ns for group in groups for name, ns in group["patterns"].items()}


def is_costly(name: str, ns: float, allowed: Mapping[str, float]) -> bool:
    """True if a pattern costs more than its line in costly.yaml says."""
    return ns > MOST_NS and ns > NOISE * allowed.get(name, 0.0)


def find_costly(measured: Mapping[str, float], allowed: Mapping[str, float]) -> Iterator[str]:
    """Tell of each pattern that costs too much."""
    for name, ns in sorted(measured.items(), key=lambda cost: -cost[1]):
        if is_costly(name, ns, allowed):
            listed = f" instead of {allowed[name]}" if name in allowed else ""
            yield f"{name} adds {ns:.2f} ns/B{listed}: narrow it, or say why in {COSTLY.name}"


def find_needless(measured: Mapping[str, float], allowed: Mapping[str, float]) -> Iterator[str]:
    """Tell of each listed pattern that is cheap by now."""
    for name in allowed:
        if measured.get(name, 0.0) < MOST_NS / NOISE:
            yield f"{name} is no longer costly: remove it from {COSTLY.name}"


def least(sets: Sequence[PatternSet], blocks: Sequence[bytes]) -> list[float]:
    """The nanoseconds a byte of each set of patterns, which take turns."""
    runs = [[_time(patterns, blocks) for patterns in sets] for _ in range(RUNS)]
    size = sum(map(len, blocks))
    return [min(taken) / size for taken in zip(*runs, strict=True)]


def _time(patterns: PatternSet, blocks: Sequence[bytes]) -> int:
    began = thread_time_ns()
    for block in blocks:
        patterns.look(block)
    return thread_time_ns() - began


def _texts(size: int, *, is_squeezed: bool) -> dict[str, list[bytes]]:
    """Blocks of a size by the kind of text."""
    cut: dict[str, list[bytes]] = {}
    for kind, blocks in samples().items():
        data = b"".join(blocks[:BLOCKS])
        data = b"".join(data.split()) if is_squeezed else data
        cut[kind] = [data[at : at + size] for at in range(0, len(data) - size + 1, size)]
    return cut
