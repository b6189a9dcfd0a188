"""Servers that can be taken for one another."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TypeVar

from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, read_checks
from pipeguard.clients.entries import ServerEntry
from pipeguard.firewall.finding import Severity
from pipeguard.unicode.folding import fold

SAME, DIFFERENT, ALIKE = CHECKS = read_checks("names")
MOST_PAIRED = 50  # servers of one name, or of names that look alike
_Item = TypeVar("_Item")
_DIGITS = str.maketrans("0135", "oles")


def look(target: AssessmentTarget) -> Findings:
    """Check every pair of names."""
    by_name: dict[str, list[ServerEntry]] = {}
    for server in target.servers:
        by_name.setdefault(server.name, []).append(server)
    for servers in by_name.values():
        yield from _of_one_name(target, servers)
    yield from _alike(by_name)


def _pairs(items: Sequence[_Item]) -> Iterator[tuple[_Item, _Item]]:
    """Yield every pair of a few items; of many, each with the first, which stays linear."""
    yield from combinations(items[:MOST_PAIRED], 2)
    for item in items[MOST_PAIRED:]:
        yield items[0], item


def _of_one_name(target: AssessmentTarget, servers: list[ServerEntry]) -> Findings:
    for first, second in _pairs(servers):
        if _is_same(first, second):
            continue
        shared = set(target.client_ids(first)) & set(target.client_ids(second))
        if shared:
            if first.file == second.file and first.path[:-2] != second.path[:-2]:
                continue  # in two folders, whose entries one client stores in one file
            place = f"{first.scope.value}'s {first.file.name}, line {first.line}"
            message = f"That in the {place}, is another server, and {min(shared)} reads both."
            yield SAME.at(second, message, key=first.client)
        else:
            message = f"{first.client} has another server of this name."
            yield DIFFERENT.at(second, message, key=first.client)


def _alike(by_name: dict[str, list[ServerEntry]]) -> Findings:
    by_looks: dict[str, list[str]] = {}
    for name in by_name:
        by_looks.setdefault(_looks(name), []).append(name)
    for names in by_looks.values():
        for first, second in _pairs(names):
            entry = by_name[first][0]
            other = by_name[second][0]
            if _is_same(entry, other):
                continue
            message = f"It looks like `{first}`, which is another server ({entry.client})."
            yield ALIKE.at(other, message, key=first, severity=_severity(first, second))


def _looks(name: str) -> str:
    """The look of a name: look-alikes folded, separators and case removed."""
    folded, _ = fold(name.encode("utf-8", "replace"))
    plain = folded.decode("utf-8", "replace").lower().translate(_DIGITS)
    return "".join(c for c in plain if c.isalnum()).replace("i", "l").replace("rn", "m")


def _severity(first: str, second: str) -> Severity:
    """Rate two names: two spellings of one word are harmless, another alphabet is not."""
    if not (first.isascii() and second.isascii()):
        return ALIKE.severity
    plain = [
        name.lower().replace("_", "").replace("-", "").replace(" ", "") for name in (first, second)
    ]
    return Severity.LOW if plain[0] == plain[1] else Severity.MEDIUM


def _is_same(first: ServerEntry, second: ServerEntry) -> bool:
    return (first.own_words, first.own_url) == (second.own_words, second.own_url)
