"""The installation of PipeGuard: its package, its extras, and the words that run it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeguard.errors import PipeGuardError

PACKAGE = "mcp-pipeguard"
INSTALL = "Install PipeGuard to stay, as its README says."
INSTALL_AGAIN = "Install PipeGuard again, the way it was installed."
# The extras of the package, and modules that each brings.
EXTRAS = {
    "desktop": ("desktop_notifier", "PySide6"),
    "fleet": ("psycopg", "jwt", "cryptography", "httpx2"),
    "oauth": ("mcp", "httpx2"),
    "otel": ("opentelemetry.sdk",),
}


def own_command() -> str:
    """Return the words that run this PipeGuard: its name, or its path if PATH lacks it."""
    script = Path(sys.prefix) / ("Scripts/pipeguard.exe" if os.name == "nt" else "bin/pipeguard")
    found = shutil.which("pipeguard")
    if found and os.path.realpath(found) in {
        os.path.realpath(own) for own in (str(script), sys.argv[0])
    }:
        return "pipeguard"
    if not script.is_file():
        return f"{shlex.quote(sys.executable)} -m pipeguard"
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def is_in_cache() -> bool:
    """True if uvx runs it from a cache, which is emptied."""
    return not {"archive-v0", "builds-v0"}.isdisjoint(Path(sys.prefix).parts)


def installed_extras() -> list[str]:
    """List the extras whose modules are all installed."""
    return [extra for extra, modules in EXTRAS.items() if all(map(_is_here, modules))]


def require_extra(extra: str, what: str, error: type[PipeGuardError]) -> None:
    """Refuse a feature that needs an extra that is not installed.

    Args:
        extra: the extra.
        what: the feature, in the plural, as `logins`.
        error: the class of the error.

    Raises:
        PipeGuardError: the extra is not installed.
    """
    if extra not in installed_extras():
        raise error(f"{what} need {PACKAGE}[{extra}], an extra that is not installed.")


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False
