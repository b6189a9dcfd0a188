"""Loads compiled rules from the cache, so that a start takes milliseconds instead of seconds.

Where the cache has none that can be trusted, the rules are compiled (rulebook.compilation). A cache
that cannot be written is no error, only slow. Knows engines; rulebook.cache_files knows the files.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING

from pipeguard.config.directories import cache_folder
from pipeguard.core.matching.pattern_set import Database, PatternSet, binding
from pipeguard.core.model.classifier import OpenerFile
from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules.rule import from_record
from pipeguard.core.scanning.databases import PatternSets, opener_of
from pipeguard.core.scanning.engine import Engine
from pipeguard.core.scanning.rule_partition import EngineRules
from pipeguard.core.session.guard import Engines
from pipeguard.errors import EngineError
from pipeguard.rulebook.cache_files import (
    CachedRules,
    CacheFile,
    make_folder,
    open_index,
    store,
    write_index,
)
from pipeguard.rulebook.cache_key import cache_key
from pipeguard.rulebook.packs import model, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeguard.core.rules.rule import Rule
    from pipeguard.rulebook.packs import PackFile

_THREADS_VARIABLE = "OPENBLAS_NUM_THREADS"
_M_MMAP_THRESHOLD = -3  # <malloc.h>
_LARGE_BLOCK_BYTES = 256 * 1024


def load_engines(packs: Sequence[PackFile] | None = None, folder: str | None = None) -> Engines:
    """The rules of every pack, ready to run: from the cache, or compiled and put there.

    Args:
        packs: the packs' files; None for all there are.
        folder: of the cache; None for the usual one.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing or rejects a pattern, or nothing can be written.
    """
    _return_large_blocks()
    binding()  # what is cached needs it as well, and would miss it with the first frame
    return _engines(partial(_cached, packs, cache_folder() if folder is None else folder))


def is_cached(packs: Sequence[PackFile]) -> bool:
    """True if the usual cache has these packs compiled, in files that can be trusted."""
    try:
        open_index(cache_folder(), cache_key(packs))
    except OSError:
        return False
    return True


def cache_in(folder: str) -> None:
    """Put the compiled rules of every pack into another cache's folder too, if they are not there.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing, or rejects a pattern.
    """
    packs = sources()
    key = cache_key(packs)
    with suppress(OSError):
        open_index(folder, key)
        return
    try:  # only what can be trusted there is copied: a copy would be trusted
        cached = open_index(cache_folder(), key)
    except OSError:
        load_engines(packs, folder)
        return
    with suppress(OSError):
        make_folder(folder)
        for file in cached.files.values():
            store(folder, file.content())
        write_index(folder, key, cached.rules, cached.engines)


def _cached(packs: Sequence[PackFile] | None, folder: str) -> CachedRules:
    """Open the compiled rules, which are compiled first where need be."""
    packs = sources() if packs is None else packs
    key = cache_key(packs)
    with suppress(OSError):
        return open_index(folder, key)
    from pipeguard.rulebook.compilation import compiled, compiled_privately

    try:
        return compiled(packs, os.path.abspath(folder), key)  # noqa: PTH100  pathlib costs 5 ms
    except OSError:
        return compiled_privately(packs, key)


def _engines(reopen: Callable[[], CachedRules]) -> Engines:
    """The engines of compiled rules, of which only the index is read yet.

    Args:
        reopen: opens the compiled rules, also once more where a file is damaged.
    """
    rules_file, engine_files, files = reopen()

    @cache
    def database(name: str) -> Database:
        return Database(
            partial(_read, files[name], reopen), partial(_recompiled, files[name], reopen)
        )

    def patterns(names: Sequence[str]) -> PatternSet:
        return PatternSet([*map(database, names)])

    read_rules = cache(partial(_rules, files[rules_file], reopen))
    engines = []
    for surface, (over, plain, squeezed, acts, opener) in zip(Surface, engine_files, strict=True):
        rules = EngineRules(read_rules, surface, frozenset(map(Surface, over)))
        before_classifier = opener_of(OpenerFile(*opener) if opener else None, _model)
        sets = PatternSets(patterns(plain), patterns(squeezed), patterns(acts), before_classifier)
        engines.append(Engine(rules, surface, sets, _model))
    return Engines(*engines)


def _read(file: CacheFile, reopen: Callable[[], CachedRules]) -> bytes:
    """The content of a file, compiled anew if it is damaged."""
    try:
        return file.content()
    except OSError:
        return _recompiled(file, reopen)


def _recompiled(file: CacheFile, reopen: Callable[[], CachedRules]) -> bytes:
    """The content of a file that is damaged, from the one that takes its place.

    Raises:
        EngineError: what was compiled anew is damaged too, or is something else.
    """
    file.remove()
    try:
        return reopen().files[file.name].content()
    except (OSError, KeyError):
        raise EngineError("the compiled rules are damaged. Start again.") from None


def _rules(file: CacheFile, reopen: Callable[[], CachedRules]) -> tuple[Rule, ...]:
    return tuple(map(from_record, json.loads(_read(file, reopen))))


def _model(name: str) -> bytes:
    """Read a classifier, or a network, for which numpy is imported without threads.

    The threads of OpenBLAS would spin while they wait for more work than there is. The variable is
    set for the import alone, so that no process started later sees it. Source: OpenBLAS, "Runtime
    variables".
    """
    is_set = _THREADS_VARIABLE in os.environ
    if name.endswith(".network") and "numpy" not in sys.modules and not is_set:
        os.environ[_THREADS_VARIABLE] = "1"
        try:
            import numpy  # noqa: F401  loads it
        finally:
            del os.environ[_THREADS_VARIABLE]
    return model(name)


def _return_large_blocks() -> None:
    """Have glibc return large blocks to the system when they are freed.

    By default each such block that is freed raises the size from which on it does so (mallopt(3),
    M_MMAP_THRESHOLD): the memory of these files, and of each large frame, would stay ours.
    """
    if sys.platform == "linux":
        import ctypes

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and retains less
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
