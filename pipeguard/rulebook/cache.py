"""Loads compiled rules, so that a start takes milliseconds instead of seconds.

The package's build compiles the shipped rules if it can. Other rules, and those of a build that
could not, are in the cache. If neither has trusted compiled rules, the rules are compiled
(rulebook.compilation). If the cache cannot be written, starts are only slow.
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
from pipeguard.detect.matching.pattern_set import MISSING, Database, PatternSet, binding
from pipeguard.errors import EngineError
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.cache_key import find_key
from pipeguard.rulebook.compiled_file import CompiledRules, open_compiled, shipped_folder
from pipeguard.rulebook.packs import load_rules, mapped_model, sources, try_patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeguard.detect.rules.rule import Rule
    from pipeguard.rulebook.packs import PackFile

_THREADS_VARIABLE = "OPENBLAS_NUM_THREADS"


def load_engines(packs: Sequence[PackFile] | None = None, folder: str | None = None) -> Engines:
    """Load the rules of every pack, ready to run, as `open_engines` finds them."""
    return open_engines(packs, folder)[1]()


def open_engines(
    packs: Sequence[PackFile] | None = None, folder: str | None = None
) -> tuple[bytes, Callable[[], Engines]]:
    """Find the compiled rules of every pack: shipped, in the cache, or newly compiled.

    Args:
        packs: the packs' files; None for all there are.
        folder: of the cache; None for the usual one.

    Returns:
        A hash of all that reads texts, and a function that loads the rules; known first answers
        need only the hash.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing or rejects a pattern.
    """
    return_large_blocks()
    if find_spec("hyperscan") is None:  # compiled rules need it for their first text
        raise EngineError(MISSING)
    packs = sources() if packs is None else packs
    folder = os.path.abspath(cache_folder() if folder is None else folder)
    key, state = find_key(packs, folder)
    compiled = _find_stored(folder, key)
    if compiled is None:
        load_rules(packs)  # so that an error is reported without waiting for another's compiler
        try_patterns(pack for pack in packs if not pack.shipped)
        from pipeguard.rulebook.compilation import compile_packs

        compiled = compile_packs(packs, folder, key)
    return state, partial(_engines, compiled, state)


def rule_ids() -> tuple[str, ...]:
    """The ids of the rules of every pack; from the cache if possible, which is fast.

    Raises:
        RuleError: a pack is wrong.
    """
    packs, folder = sources(), cache_folder()
    stored = _find_stored(folder, find_key(packs, folder)[0])
    if stored is not None:
        with suppress(EngineError):
            return tuple(record["id"] for record in json.loads(stored.part(0)))
    return tuple(rule.id for rule in load_rules(packs))


def _find_stored(folder: str, key: bytes) -> CompiledRules | None:
    """The compiled rules, shipped or in a cache's folder; None without any."""
    for place in (shipped_folder(), folder):
        with suppress(OSError):
            return open_compiled(place, key)
    return None


def _engines(compiled: CompiledRules, state: bytes) -> Engines:
    """The engines of compiled rules; so far, only the head is read."""
    from pipeguard.detect.model.classifier import OpenerFile
    from pipeguard.detect.rules.rule import from_record
    from pipeguard.detect.scanning.engine import Engine, make_opener
    from pipeguard.detect.scanning.rule_groups import EngineRules

    binding()  # imported before a text waits for it

    @cache
    def database(number: int) -> Database:
        return Database(partial(compiled.part, number + 1))

    @cache
    def read_rules() -> tuple[Rule, ...]:
        return tuple(map(from_record, json.loads(compiled.part(0))))

    engines = []
    for surface, parts in zip(Surface, compiled.engines, strict=True):
        rules = EngineRules(read_rules, surface, frozenset(map(Surface, parts.surfaces)))
        opener = make_opener(OpenerFile(*parts.opener) if parts.opener else None, _model)
        numbers = parts.plain, parts.squeezed, parts.acts
        plain, squeezed, acts = (PatternSet([*map(database, some)]) for some in numbers)
        engines.append(Engine(rules, (plain, squeezed, acts, opener), _model))
        engines[-1].key = state
    return Engines(*engines)


def _model(name: str) -> memoryview:
    """Map the file of a classifier, an opener or a network.

    Raises:
        EngineError: its native code was not compiled, and numpy is missing.
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
    set only for the import, so that no process started later sees it. Source: OpenBLAS, "Runtime
    variables".

    Raises:
        EngineError: it is not installed.
    """
    is_set = _THREADS_VARIABLE in os.environ
    os.environ.setdefault(_THREADS_VARIABLE, "1")
    try:
        import numpy  # noqa: F401  loads it
    except ModuleNotFoundError:
        raise EngineError(
            "PipeGuard was installed with neither a C compiler nor numpy, and needs one of them."
        ) from None
    finally:
        if not is_set:
            del os.environ[_THREADS_VARIABLE]
