"""The installation of PipeGuard, and the commands that install it.

It is published nowhere yet: all commands name a clone. To publish it, make `PUBLISHED` True, and
change the README and the workflow in docs/assess.md, which tests/test_installation.py compares.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    from pipeguard.errors import PipeGuardError

PACKAGE = "mcp-pipeguard"
PUBLISHED = False
# In general form, for pages.
UPGRADE = f"pipx upgrade {PACKAGE}" if PUBLISHED else "git pull && pipx install --force ."
# The extras of the package, and modules that each brings.
EXTRAS = {
    "desktop": ("desktop_notifier", "PySide6"),
    "oauth": ("mcp", "httpx2"),
    "otel": ("opentelemetry.sdk",),
}
_USUAL_PREFIX = Path(os.path.expanduser("~/.local"))
_FOLDER = ("share", "pipeguard")  # where `make install` puts it, below its PREFIX


def find_installer() -> str:
    """The installer: `pipx`, `uv tool`, `uvx`, `make`, `venv` or `pip`."""
    parts = Path(sys.prefix).parts
    if "pipx" in parts and "venvs" in parts:
        return "pipx"
    if "uv" in parts and "tools" in parts:
        return "uv tool"
    if {"archive-v0", "builds-v0"} & set(parts):
        return "uvx"
    if parts[-2:] == _FOLDER:
        return "make"
    return "venv" if sys.prefix != sys.base_prefix else "pip"


def own_command() -> str:
    """The words that run this PipeGuard: its name, or its path if that is not on the PATH."""
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


def install_command() -> str:
    """The command that installs it to stay, with what this machine has."""
    is_clone = not PUBLISHED and not Path(origin()).is_file()  # a wheel has no Makefile
    if is_clone and shutil.which("make"):
        return _make()
    if shutil.which("pipx"):
        return f"pipx install {_source()}"
    if shutil.which("uv"):
        return f"uv tool install {_source()}"
    if Path(origin()).is_file():
        return f"pipx install {_source()}"
    return f"pip install {PACKAGE}" if PUBLISHED else _make()


def reinstall_command(extra: str = "") -> str:
    """The command that installs it again, the way it was installed.

    Args:
        extra: an extra of the package that is to be there beside those that are.
    """
    extra = _with_others(extra)
    way = find_installer()
    if way == "pipx":
        return f"pipx install --force {_source(extra)}"
    if way in ("uv tool", "uvx"):
        return f"uv tool install --force {_source(extra)}"
    if way == "make":
        return f"{_make()} EXTRA={extra}" if extra else _make()
    python = shlex.quote(sys.executable or "python3")
    again = "" if extra else "--force-reinstall "
    return f"{python} -m pip install {again}{_source(extra)}"


def uninstall_command() -> str:
    """The command that removes it, the way it was installed."""
    way = find_installer()
    if way in ("pipx", "uv tool"):
        return f"{way} uninstall {PACKAGE}"
    if way == "uvx":
        return "uv cache clean " + PACKAGE
    if way == "make":  # as `make uninstall`, which needs the clone
        program = Path(sys.prefix).parents[1] / "bin" / "pipeguard"
        return shlex.join(["rm", "-r", sys.prefix, str(program)])
    return f"{shlex.quote(sys.executable or 'python3')} -m pip uninstall {PACKAGE}"


def installed_extras() -> list[str]:
    """The extras whose modules are all here."""
    return [extra for extra, modules in EXTRAS.items() if all(map(_is_here, modules))]


def require_extra(extra: str, what: str, error: type[PipeGuardError]) -> None:
    """Refuse what needs an extra that is not installed, with the command that installs it.

    Args:
        extra: the extra.
        what: needs it, in the plural, as `logins`.
        error: the class of the error.

    Raises:
        PipeGuardError: it is not installed.
    """
    if extra not in installed_extras():
        raise error(
            f"{what} need the extra {extra!r}, which is not installed.\n"
            f"  Install it:  {reinstall_command(extra)}"
        )


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False


def origin() -> str:
    """The clone or the file that it was installed from; `.` where that is not known or is gone.

    PEP 610 has it in `direct_url.json`, which pip, pipx and uv write.
    """
    try:
        written = metadata.distribution(PACKAGE).read_text("direct_url.json") or "{}"
        url = urlsplit(json.loads(written)["url"])
    except (metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        return "."
    source = Path(url2pathname(url.path)) if url.scheme == "file" else Path()
    return str(source) if source.is_file() or (source / "pyproject.toml").is_file() else "."


def _with_others(extra: str) -> str:
    """This extra and those that are installed, as `oauth,otel`; "" is none."""
    return ",".join(sorted({*installed_extras(), extra} - {""}))


def _source(extra: str = "") -> str:
    return shlex.quote(f"{PACKAGE if PUBLISHED else origin()}{f'[{extra}]' if extra else ''}")


def _make() -> str:
    folder = origin()
    words = ["make", *([] if folder == "." else ["-C", folder]), "install"]
    prefix = Path(sys.prefix).parents[1] if find_installer() == "make" else _USUAL_PREFIX
    if prefix != _USUAL_PREFIX:
        words.append(f"PREFIX={prefix}")
    return shlex.join(words)
