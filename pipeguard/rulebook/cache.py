"""Loads compiled rules, so that a start takes milliseconds instead of seconds.

The package's build compiles the shipped rules where it can. Other rules, and those of a build that
could not, are in the cache. Where neither has any that can be trusted, the rules are compiled
(rulebook.compilation). A cache that cannot be written is no error, only slow. Knows engines;
rulebook.cache_files knows the files.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipeguard.allocator import return_large_blocks
from pipeguard.config.directories import cache_folder
from pipeguard.detect.detector import Engines
from pipeguard.detect.matching.pattern_set import MISSING, Database, PatternSet
from pipeguard.detect.model.classifier import OpenerFile
from pipeguard.detect.rules.rule import from_record
from pipeguard.detect.scanning.engine import Engine, PatternSets, make_opener
from pipeguard.detect.scanning.rule_groups import EngineRules
from pipeguard.errors import EngineError
from pipeguard.firewall.protocol.places import Surface
from pipeguard.log import say
from pipeguard.rulebook.cache_files import (
    CachedRules,
    CacheFile,
    Index,
    make_folder,
    open_index,
    shipped_folder,
    store,
    write_index,
)
from pipeguard.rulebook.cache_key import cache_key
from pipeguard.rulebook.packs import load_rules, mapped_model, sources, try_patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeguard.detect.rules.rule import Rule
    from pipeguard.rulebook.packs import PackFile

_THREADS_VARIABLE = "OPENBLAS_NUM_THREADS"


def load_engines(
    packs: Sequence[PackFile] | None = None,
    folder: str | None = None,
    on_compiling: Callable[[], object] | None = None,
    on_progress: Callable[[int, int], object] = lambda *_: None,
) -> Engines:
    """The rules of every pack, ready to run: shipped so, from the cache, or compiled for it.

    Args:
        packs: the packs' files; None for all there are.
        folder: of the cache; None for the usual one.
        on_compiling: called if rules have to be compiled, which is then not waited for: a text
            waits for the databases that it needs. None to wait here.
        on_progress: called while this waits here: how many parts are compiled, and how many to be.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing or rejects a pattern, or nothing can be written.
    """
    return_large_blocks()
    if find_spec("hyperscan") is None:  # what is compiled needs it, with its first text
        raise EngineError(MISSING)
    place = _Place(packs, cache_folder() if folder is None else folder)

    def is_enough(opened: CachedRules) -> bool:
        on_progress(len(opened.files) - 1, len(opened.databases))
        return opened.is_complete

    if on_compiling is None:
        return _engines(place, place.open_rules(is_enough))
    return _engines(place, place.open_rules(_is_begun, on_compiling))


def rule_ids() -> tuple[str, ...]:
    """The ids of the rules of every pack; from the cache, where they are read in no time.

    Raises:
        RuleError: a pack is wrong.
    """
    packs = sources()
    stored = _find_stored(cache_folder(), cache_key(packs))
    if stored is not None:
        with suppress(OSError):
            return tuple(record["id"] for record in json.loads(stored.rules.content()))
    return tuple(rule.id for rule in load_rules(packs))


def is_cached(packs: Sequence[PackFile]) -> bool:
    """True if these packs are compiled, in files that can be trusted."""
    return _find_stored(cache_folder(), cache_key(packs)) is not None


def is_shipped(packs: Sequence[PackFile]) -> bool:
    """True if the package's build compiled these packs, for this kind of machine."""
    with suppress(OSError):
        return open_index(shipped_folder(), cache_key(packs), is_shipped=True).is_complete
    return False


def write_cache(folder: str) -> None:
    """Put the compiled rules of every pack into another cache's folder too, if they are not there.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing, or rejects a pattern.
    """
    packs = sources()
    key = cache_key(packs)
    if _find_stored(folder, key) is not None:
        return
    cached = _find_stored(cache_folder(), key)  # only what can be trusted: a copy would be trusted
    if cached is None:
        load_engines(packs, folder)
        return
    with suppress(OSError):
        make_folder(folder)
        names = [
            store(folder, file.content(), file.name.partition("-")[0])
            for file in cached.databases
            if file is not None
        ]
        write_index(
            folder, key, Index(store(folder, cached.rules.content()), names, cached.engines)
        )


def _find_stored(folder: str, key: bytes) -> CachedRules | None:
    """The compiled rules, shipped or in a cache's folder; None if some are missing."""
    for place, is_shipped in ((shipped_folder(), True), (folder, False)):
        with suppress(OSError):
            opened = open_index(place, key, is_shipped=is_shipped)
            if opened.is_complete:
                return opened
    return None


def _is_complete(opened: CachedRules) -> bool:
    return opened.is_complete


def _is_begun(_opened: CachedRules) -> bool:
    return True


class _Place:
    """The place of the compiled rules of some packs.

    Attributes:
        key: of the compiled rules, once they are open.
    """

    def __init__(self, packs: Sequence[PackFile] | None, folder: str) -> None:
        self._packs = packs
        self._folder = folder
        self.key = b""
        self._is_proven = False

    def open_rules(
        self,
        is_enough: Callable[[CachedRules], bool],
        on_compiling: Callable[[], object] | None = None,
        *,
        anew: bool = False,
    ) -> CachedRules:
        """Open the compiled rules, which are compiled first where need be.

        Args:
            is_enough: true of compiled rules that need not be waited for.
            on_compiling: called if they have to be compiled.
            anew: True to do without what is shipped, which is damaged.

        Raises:
            RuleError: a pack is wrong.
            EngineError: Hyperscan rejects a pattern, nothing can be written, or the packs are no
                longer those that were opened first.
        """
        packs = sources() if self._packs is None else self._packs
        key = cache_key(packs)
        if self.key not in (b"", key):
            raise EngineError("the rules were changed, or are damaged. Start again.")
        self.key = key
        if not anew:
            stored = _find_stored(self._folder, key)
            if stored is not None:
                return stored
        if not self._is_proven:
            load_rules(packs)  # so that nobody waits for another's compiler to hear of an error
            try_patterns(pack for pack in packs if not pack.shipped)
            self._is_proven = True
        if on_compiling is not None:
            on_compiling()
        from pipeguard.rulebook.compilation import compile_packs, compiled_privately

        try:
            return compile_packs(packs, os.path.abspath(self._folder), key, is_enough)
        except OSError:
            return compiled_privately(packs, key)

    def content(self, choose: Callable[[CachedRules], CacheFile | None], now: CachedRules) -> bytes:
        """The content of a file, which is waited for, and compiled anew if it is damaged.

        Args:
            choose: the file of compiled rules.
            now: the compiled rules when they were opened.
        """
        file = choose(now)
        if file is None:
            file = choose(self.open_rules(lambda later: choose(later) is not None))
        if file is not None:
            with suppress(OSError):
                return file.content()
        return self.replacement(choose, file)

    def replacement(
        self, choose: Callable[[CachedRules], CacheFile | None], file: CacheFile | None
    ) -> bytes:
        """The content of the file that takes the place of a damaged one.

        Raises:
            EngineError: what was compiled anew is damaged too, or is something else.
        """
        if file is not None:
            file.remove()
            if file.is_shipped:
                _say_damaged()
        anew = choose(self.open_rules(_is_complete, anew=file is not None and file.is_shipped))
        try:
            if anew is not None:
                return anew.content()
        except OSError:
            pass
        raise EngineError("the compiled rules are damaged. Start again.")


@cache
def _say_damaged() -> None:
    """Say once that the installation is damaged."""
    say("the compiled rules of this installation are damaged, so they are compiled here instead")


def _engines(place: _Place, opened: CachedRules) -> Engines:
    """The engines of compiled rules, of which only the index is read yet."""

    @cache
    def database(number: int) -> Database:
        choose = partial(_database_file, number)
        return Database(
            partial(place.content, choose, opened),
            partial(place.replacement, choose, choose(opened)),
        )

    def patterns(numbers: Sequence[int]) -> PatternSet:
        return PatternSet([*map(database, numbers)])

    read_rules = cache(partial(_rules, place, opened))
    engines = []
    for surface, (over, plain, squeezed, acts, opener) in zip(Surface, opened.engines, strict=True):
        rules = EngineRules(read_rules, surface, frozenset(map(Surface, over)))
        before_classifier = make_opener(OpenerFile(*opener) if opener else None, _model)
        sets = PatternSets(patterns(plain), patterns(squeezed), patterns(acts), before_classifier)
        engines.append(Engine(rules, surface, sets, _model))
        engines[-1].key = place.key
    return Engines(*engines)


def _database_file(number: int, opened: CachedRules) -> CacheFile | None:
    return opened.databases[number]


def _rules(place: _Place, opened: CachedRules) -> tuple[Rule, ...]:
    return tuple(map(from_record, json.loads(place.content(_rules_file, opened))))


def _rules_file(opened: CachedRules) -> CacheFile:
    return opened.rules


def _model(name: str) -> memoryview:
    """Map the file of a classifier, an opener or a network.

    Raises:
        EngineError: what runs it was not compiled, and numpy is missing.
    """
    if name.endswith(".network"):
        from pipeguard.detect.model.network import native as native_network

        needs_numpy = native_network() is None
    else:
        from pipeguard.detect.model.opener import native as native_opener

        needs_numpy = name.endswith((".opener", ".ranker")) and native_opener() is None
    if needs_numpy:
        _import_numpy()
    return mapped_model(name)


def _import_numpy() -> None:
    """Import numpy without threads.

    The threads of OpenBLAS would spin while they wait for more work than there is. The variable is
    set for the import alone, so that no process started later sees it. Source: OpenBLAS, "Runtime
    variables".

    Raises:
        EngineError: it is not installed.
    """
    is_set = _THREADS_VARIABLE in os.environ
    os.environ.setdefault(_THREADS_VARIABLE, "1")
    try:
        import numpy  # noqa: F401  loads it
    except ModuleNotFoundError:
        from pipeguard.installation import reinstall_command

        raise EngineError(
            "PipeGuard was installed with neither a C compiler nor numpy, and needs one of them.\n"
            f"  Install it again:  {reinstall_command()}"
        ) from None
    finally:
        if not is_set:
            del os.environ[_THREADS_VARIABLE]
