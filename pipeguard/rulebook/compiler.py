"""Compiles rules into the content of a file of the cache (rulebook.compiled_file)."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from pipeguard.config.directories import cache_folder
from pipeguard.detect.matching.pattern_set import PatternGroup, binding, compile_group
from pipeguard.detect.rules.rule import as_record
from pipeguard.detect.scanning import engine, rule_groups
from pipeguard.firewall.protocol import places, strict_json
from pipeguard.rulebook.cache_key import cache_key, database_key
from pipeguard.rulebook.compiled_file import (
    EngineParts,
    file_name,
    open_all,
    put,
    serialize,
)
from pipeguard.rulebook.packs import PackFile, load_rules, model, shipped_sources

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_THREADS = 4  # one takes 115 MB, each other 50 MB more
# The parts of a rule in its pack that only people read.
_UNREAD = {"matches": [], "passes": [], "title": "", "why": "", "fix": ""}


def compile_rules(packs: Iterable[PackFile], folder: str, key: bytes) -> bytes:
    """Compile rules, each database once and several at a time.

    A database that was compiled from the same patterns, for other rules, is copied: an edit of a
    rule, or of our code, changes few, and all of them take 20 s of a core.

    Args:
        packs: of the rules.
        folder: of the cache.
        key: of the compiled rules (rulebook.cache_key).

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing, or rejects a pattern.
    """
    # It imports logging, which a process that only waits, possibly for long, does not need.
    from concurrent.futures import ThreadPoolExecutor

    rules = load_rules(packs)
    patterns = [engine.collect_patterns(rules, surface, model) for surface in places.Surface]
    every = dict.fromkeys(group for parts in patterns for part in parts[:3] for group in part)
    # So that the threads end together.
    groups = sorted(every, key=lambda group: sum(len(p) for p, _ in group.patterns), reverse=True)
    numbers = {group: number for number, group in enumerate(groups)}
    engines = [
        EngineParts(
            sorted(
                {
                    to.value
                    for rule in rule_groups.select_rules(rules, surface)
                    for to in rule.surfaces
                }
            ),
            [numbers[group] for group in parts.plain],
            [numbers[group] for group in parts.squeezed],
            [numbers[group] for group in parts.acts],
            parts.opener or (),
        )
        for surface, parts in zip(places.Surface, patterns, strict=True)
    ]
    known = open_all([folder, cache_folder()])

    def make(group: PatternGroup) -> tuple[str, bytes]:
        name = database_key(group)
        copies = filter(None, (compiled.find_database(name) for compiled in known))
        return name, next(copies, b"") or compile_group(group)

    binding()  # imported by one thread: if that fails, another would get a part of the module
    threading.stack_size(strict_json.STACK_BYTES)  # musl's 128 KiB are too few
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        databases = list(pool.map(make, groups))
    records = json.dumps([as_record(rule) | _UNREAD for rule in rules], separators=(",", ":"))
    return serialize(key, records.encode(), databases, engines)


def compile_shipped(folder: str) -> None:
    """Compile only the shipped packs into a folder; copy what an earlier build compiled there.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing, or rejects a pattern.
        OSError: the folder cannot be written.
    """
    packs = shipped_sources()
    key = cache_key(packs)
    content = compile_rules(packs, folder, key)
    rmtree(folder, ignore_errors=True)
    put(folder, file_name(key), content)
    Path(folder).chmod(0o755)  # every user who runs the installed package reads it
    Path(folder, file_name(key)).chmod(0o644)


if __name__ == "__main__":  # of the package's build
    compile_shipped(os.path.abspath(sys.argv[1]))
