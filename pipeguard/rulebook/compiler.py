"""Compiles rules into the files of a cache, as a program that outlives the process that started it.

The program leaves the tree of processes that it was started in: clients end a server that takes
long to start with all of its children, and the next start would be no faster.
"""

# ruff: noqa: PTH118  pathlib is not needed here
from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeguard.core.matching.pattern_set import PatternGroup, compile_group
from pipeguard.core.protocol.places import Surface
from pipeguard.core.protocol.strict_json import STACK_BYTES
from pipeguard.core.rules.rule import as_record
from pipeguard.core.scanning.databases import Patterns, patterns_of
from pipeguard.core.scanning.rule_partition import rules_for
from pipeguard.rulebook.cache_files import LOCK_NAME, EngineFiles, prune, store, write_index
from pipeguard.rulebook.packs import PackFile, load_rules, model

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_THREADS = 4  # one takes 115 MB, each other 50 MB more
# The parts of a rule that only people read, in its pack.
_UNREAD: dict[str, object] = {"matches": [], "passes": [], "title": "", "why": "", "fix": ""}


def compile_rules(packs: Iterable[PackFile], folder: str, key: bytes) -> None:
    """Compile rules, each database once and several at a time, and write the index.

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
    from concurrent.futures import ThreadPoolExecutor

    rules = load_rules(packs)
    patterns = [patterns_of(rules, surface, model) for surface in Surface]
    jobs = _jobs(patterns)

    def compiled(group: PatternGroup) -> str:
        name = store(folder, compile_group(group))
        with suppress(FileNotFoundError):  # it tells waiting processes of the progress
            os.utime(os.path.join(folder, LOCK_NAME))
        return name

    threading.stack_size(STACK_BYTES)  # musl's 128 KiB are too few
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        names = dict(zip(jobs, pool.map(compiled, jobs), strict=True))
    engines = []
    for surface, parts in zip(Surface, patterns, strict=True):
        over = {reached.value for rule in rules_for(rules, surface) for reached in rule.surfaces}
        plain, squeezed, acts = ([names[group] for group in part] for part in parts[:3])
        engines.append(EngineFiles(sorted(over), plain, squeezed, acts, parts.opener or ()))
    records = json.dumps([as_record(rule) | _UNREAD for rule in rules], separators=(",", ":"))
    write_index(folder, key, store(folder, records.encode()), engines)
    prune(folder, key)


def _jobs(patterns: Sequence[Patterns]) -> list[PatternGroup]:
    """All that is compiled, each once; the largest first, so that the threads end together."""
    groups = {group for parts in patterns for part in parts[:3] for group in part}
    return sorted(groups, key=lambda group: -len(group.patterns))


def encoded(packs: Iterable[PackFile]) -> bytes:
    """Packs in the form that `main` reads from standard input."""
    return json.dumps(
        [(pack.path, pack.content.decode("latin-1"), pack.shipped) for pack in packs]
    ).encode()


def main() -> None:
    """Compile the packs on standard input, for the folder, key and reader in the arguments.

    The reader is the id of the only process that reads the folder, or 0: without it, the folder is
    of no use and is removed.
    """
    folder, key, reader = sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3])
    if hasattr(os, "fork") and os.fork():
        os._exit(0)  # the child has init for its parent
    packs = [
        PackFile(path, text.encode("latin-1"), shipped)
        for path, text, shipped in json.load(sys.stdin.buffer)
    ]
    try:
        compile_rules(packs, folder, key)
    finally:
        if reader and os.name == "posix" and not _is_running(reader):
            from shutil import rmtree

            rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


if __name__ == "__main__":
    main()
