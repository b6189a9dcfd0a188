"""Prepares a client's first start of a guarded server: a valid policy, compiled rules and modules.

Clients give a server ten to thirty seconds to answer. On a busy machine, compiling the rules takes
as long, once. It continues after a client gives up, but that client has no server until it starts
again. So setup compiles before it changes the first file, for every cache folder that a server may
use: many clients pass a server only HOME and PATH.

pip compiles the modules that it installs, uv does not, and a client may forbid Python to write
bytecode: then each start would take 120 ms more CPU.
"""

from compileall import compile_dir
from importlib.util import find_spec
from pathlib import Path

from pipeguard.config import directories, options
from pipeguard.runtime.progress import COMPILING, wait_for_engines

FIRST = f"first, before any file is changed: {COMPILING}"


def check_policy() -> None:
    """Read the policy, but not a project's.

    Raises:
        PolicyError: it is invalid, so no guarded server would start.
    """
    from pipeguard.config.effective_policy import require_valid
    from pipeguard.config.policy_file import PolicyScope
    from pipeguard.rulebook.policy_rules import read_sources  # with all that looks

    sources = read_sources(options.WrapOptions())
    sources.pop(PolicyScope.PROJECT, None)
    require_valid(sources)


def make_ready() -> None:
    """Compile the rules and the modules if they are not compiled yet.

    Raises:
        EngineError: the scan engine is missing, so no guarded server would start.
    """
    from pipeguard.rulebook.cache import load_engines

    wait_for_engines(what=FIRST)
    _compile_modules()
    load_engines(folder=directories.usual_cache_folder())


def _compile_modules() -> None:
    """Compile the packages that each start imports; if that fails, each start compiles them."""
    for name in ("pipeguard.runtime.stdio", "click", "re2", "yaml"):
        spec = find_spec(name)
        package = find_spec(name.partition(".")[0])
        if spec is None or package is None or not package.submodule_search_locations:
            continue
        if spec.cached and not Path(spec.cached).exists():
            compile_dir(package.submodule_search_locations[0], quiet=2)
