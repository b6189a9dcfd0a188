"""Needs of a client's first start of a guarded server: a valid policy, and compiled rules.

Clients give a server ten to thirty seconds to answer. On a busy machine the rules take as long to
compile, once. Compiling goes on when a client gives up, but the client then lacks the server until
it is started again. So it is done before the first file is changed, for every cache folder that
a server may use: many clients pass a server no more than HOME and PATH.
"""

from __future__ import annotations

from pipeguard.config.directories import cache_folder, usual_cache_folder
from pipeguard.config.options import WrapOptions
from pipeguard.runtime.progress import COMPILING, wait_for_engines

FIRST = f"first, before any file is changed: {COMPILING}"


def check_policy() -> None:
    """Read the user's policy.

    Raises:
        PolicyError: it is invalid, so no guarded server would start.
    """
    from pipeguard.rulebook.policy_rules import load_wrap_policy  # with all that looks

    load_wrap_policy(WrapOptions((), {}, {}, []), with_project=False)


def make_ready() -> None:
    """Compile the rules if that was not done yet.

    Raises:
        EngineError: there is no scan engine, so no guarded server would start.
    """
    from pipeguard.rulebook.cache import write_cache

    wait_for_engines(what=FIRST)
    if cache_folder() != usual_cache_folder():
        write_cache(usual_cache_folder())
