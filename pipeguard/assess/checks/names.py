"""Servers that are taken for one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TypeVar

from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.clients.entries import ServerEntry
from pipeguard.core.finding import Severity
from pipeguard.core.unicode.folding import fold

SAME = PostureCheck(
    "server-name-shadowed",
    "One client has two servers of the same name that are not the same",
    Severity.MEDIUM,
    "The client takes one of them, mostly the project's. Permissions that were given to the name "
    "then hold for the other one.",
    "Give one of them another name.",
)
DIFFERENT = PostureCheck(
    "server-name-reused",
    "Two clients call different servers by the same name",
    Severity.LOW,
    "What a person knows of a server under one client is not true under the other.",
    "Give one of them another name.",
)
ALIKE = PostureCheck(
    "server-name-alike",
    "Two servers have names that look the same",
    Severity.HIGH,
    "Letters of other alphabets, digits in place of letters and invisible characters make a name "
    "that a person, and a model, takes for another. It is how an impostor gets a call.",
    "Find out where each comes from, and remove the one that you did not add.",
)
CHECKS = (SAME, DIFFERENT, ALIKE)
MOST_PAIRED = 50  # servers of one name, or of names that look alike
_One = TypeVar("_One")
_DIGITS = str.maketrans("0135", "oles")


def look(subject: AssessmentTarget) -> Iterator[PostureFinding]:
    """Every pair of names."""
    by_name: dict[str, list[ServerEntry]] = {}
    for server in subject.servers:
        by_name.setdefault(server.name, []).append(server)
    for servers in by_name.values():
        yield from _of_one_name(subject, servers)
    yield from _alike(by_name)


def _pairs(items: Sequence[_One]) -> Iterator[tuple[_One, _One]]:
    """Every two of a few; of many, each of the others with the first, so that it stays linear."""
    yield from combinations(items[:MOST_PAIRED], 2)
    for one in items[MOST_PAIRED:]:
        yield items[0], one


def _of_one_name(subject: AssessmentTarget, servers: list[ServerEntry]) -> Iterator[PostureFinding]:
    for first, second in _pairs(servers):
        if _is_same(first, second):
            continue
        shared = set(subject.clients_of(first)) & set(subject.clients_of(second))
        if shared:
            if first.file == second.file and first.path[:-2] != second.path[:-2]:
                continue  # of two folders, which one client keeps in one file
            message = f"{_told(first)} is another server, and {min(shared)} reads both."
            yield SAME.of_server(second, message, key=first.client)
        else:
            message = f"{first.client} calls another server by this name."
            yield DIFFERENT.of_server(second, message, key=first.client)


def _alike(by_name: dict[str, list[ServerEntry]]) -> Iterator[PostureFinding]:
    by_looks: dict[str, list[str]] = {}
    for name in by_name:
        by_looks.setdefault(_looks(name), []).append(name)
    for names in by_looks.values():
        for first, second in _pairs(names):
            one, other = by_name[first][0], by_name[second][0]
            if _is_same(one, other):
                continue
            severity = _severity(first, second)
            message = f"It looks like `{first}`, which is another server ({one.client})."
            yield ALIKE.of_server(other, message, key=first, severity=severity)


def _looks(name: str) -> str:
    """A name as an eye takes it: look-alikes folded, separators and case left out."""
    folded, _ = fold(name.encode("utf-8", "replace"))
    plain = folded.decode("utf-8", "replace").lower().translate(_DIGITS)
    return "".join(c for c in plain if c.isalnum()).replace("i", "l").replace("rn", "m")


def _severity(first: str, second: str) -> Severity:
    """Spellings of one word are harmless; other alphabets in one of two names are not."""
    if not (first.isascii() and second.isascii()):
        return ALIKE.severity
    plain = [
        name.lower().replace("_", "").replace("-", "").replace(" ", "") for name in (first, second)
    ]
    return Severity.LOW if plain[0] == plain[1] else Severity.MEDIUM


def _is_same(first: ServerEntry, second: ServerEntry) -> bool:
    return (first.own_words, first.own_url) == (second.own_words, second.own_url)


def _told(server: ServerEntry) -> str:
    return f"That of the {server.scope.value}'s {server.file.name}, line {server.line},"
