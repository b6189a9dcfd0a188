"""Compiles rules into the files of a cache: first what the first requests are judged by.

rulebook.compiler_process runs this as a program that outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.detect.matching.pattern_set import PatternGroup, compile_group, loads
from pipeguard.detect.rules.rule import as_record
from pipeguard.detect.scanning.engine import collect_patterns
from pipeguard.detect.scanning.rule_groups import select_rules
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.protocol.strict_json import STACK_BYTES
from pipeguard.rulebook.cache_files import (
    LOCK_NAME,
    EngineFiles,
    Index,
    find_content,
    prune,
    store,
    write_index,
)
from pipeguard.rulebook.packs import PackFile, load_rules, model

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeguard.detect.rules.rule import Rule


import sys
from pathlib import Path
from shutil import rmtree

from pipeguard.errors import PipeGuardError
from pipeguard.log import say
from pipeguard.rulebook.cache_files import index_name, make_folder, open_index
from pipeguard.rulebook.cache_key import cache_key, database_key
from pipeguard.rulebook.packs import shipped_sources

MOST_THREADS = 4  # one takes 115 MB, each other 50 MB more
# The parts of a rule that only people read, in its pack.
_UNREAD: dict[str, object] = {"matches": [], "passes": [], "title": "", "why": "", "fix": ""}


class _Plan(NamedTuple):
    """The parts to compile.

    Attributes:
        groups: of patterns, each a database, by its number.
        engines: the databases of each engine.
        order: the numbers in the order in which they are compiled.
    """

    groups: Sequence[PatternGroup]
    engines: Sequence[EngineFiles]
    order: Sequence[int]


def compile_rules(packs: Iterable[PackFile], folder: str, key: bytes) -> None:
    """Compile rules, each database once and several at a time; the index names those there are.

    A database that is stored for the same patterns, for other rules, is not compiled again.

    Args:
        packs: of the rules.
        folder: of the cache.
        key: of the compiled rules (rulebook.cache_key).

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing, or rejects a pattern.
        OSError: the folder cannot be written.
    """
    # It imports logging, which a process that only waits, and may live long, can do without.
    from concurrent.futures import ThreadPoolExecutor, as_completed

    rules = load_rules(packs)
    plan = _plan(rules)
    records = json.dumps([as_record(rule) | _UNREAD for rule in rules], separators=(",", ":"))
    names = [""] * len(plan.groups)
    index = Index(store(folder, records.encode()), [*names], plan.engines)
    write_index(folder, key, index)

    def compile_number(number: int) -> None:
        group = plan.groups[number]
        source = database_key(group)
        content = next(filter(loads, find_content(folder, source)), b"") or compile_group(group)
        names[number] = store(folder, content, source)
        with suppress(FileNotFoundError):  # it tells waiting processes of the progress
            os.utime(os.path.join(folder, LOCK_NAME))

    threading.stack_size(STACK_BYTES)  # musl's 128 KiB are too few
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        for done in as_completed([pool.submit(compile_number, number) for number in plan.order]):
            if done.exception() is not None:
                pool.shutdown(wait=False, cancel_futures=True)
            done.result()
            so_far = index._replace(databases=[*names])
            if so_far != index:  # once it is complete, a reader may remove the folder
                index = so_far
                write_index(folder, key, index)
    prune(folder, key)


def _plan(rules: Sequence[Rule]) -> _Plan:
    """The parts to compile: first what every session needs, the largest first."""
    patterns = [collect_patterns(rules, surface, model) for surface in Surface]
    numbers: dict[PatternGroup, int] = {}
    engines = []
    for surface, parts in zip(Surface, patterns, strict=True):
        over = {reached.value for rule in select_rules(rules, surface) for reached in rule.surfaces}
        plain, squeezed, acts = (
            [numbers.setdefault(group, len(numbers)) for group in part] for part in parts[:3]
        )
        engines.append(EngineFiles(sorted(over), plain, squeezed, acts, parts.opener or ()))
    groups = list(numbers)
    first = {
        number
        for surface, files in zip(Surface, engines, strict=True)
        if surface is not Surface.DEFINITIONS
        for number in (*files.plain, *files.squeezed)
    }
    order = sorted(
        range(len(groups)), key=lambda number: (number not in first, -_weight(groups[number]))
    )
    return _Plan(groups, engines, order)


def _weight(group: PatternGroup) -> int:
    """About how long a group takes to compile, so that the threads end together."""
    return sum(len(pattern) for pattern, _ in group.patterns)


def encode(packs: Iterable[PackFile]) -> bytes:
    """Packs in the form that `decoded` reads."""
    return json.dumps(
        [(pack.path, pack.content.decode("latin-1"), pack.shipped) for pack in packs]
    ).encode()


def decode(text: bytes) -> list[PackFile]:
    """Packs that `encoded` wrote."""
    return [
        PackFile(path, content.encode("latin-1"), shipped)
        for path, content, shipped in json.loads(text)
    ]


# --- shipping ---------------------------------------------------------------------------
# Compiles the shipped rules into a folder of the package, as its build does.

READABLE = 0o644  # by whoever runs what another user installed


def compile_shipped(folder: str) -> None:
    """Compile the shipped packs, and nobody's own, into a folder, unless an earlier build did.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing, or rejects a pattern.
        OSError: the folder cannot be written.
    """
    packs = shipped_sources()
    key, place = cache_key(packs), Path(folder)
    if _is_compiled(place, key):
        return
    rmtree(folder, ignore_errors=True)
    make_folder(folder)
    compile_rules(packs, folder, key)
    (place / LOCK_NAME).unlink(missing_ok=True)
    place.chmod(0o755)
    for file in place.iterdir():
        file.chmod(READABLE)


def _is_compiled(folder: Path, key: bytes) -> bool:
    """True if a folder holds what would be compiled, undamaged, and nothing else."""
    try:
        cached = open_index(str(folder), key, is_shipped=True)
        names = {file.name for file in cached.files if file.content()}
    except OSError:
        return False
    others = {file.name for file in folder.iterdir()} - names
    return cached.is_complete and others == {index_name(key)}


def main() -> int:
    """Compile into the folder in the arguments; return the exit code."""
    try:
        compile_shipped(os.path.abspath(sys.argv[1]))
    except PipeGuardError as error:
        say(str(error), "error")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
