"""The words that start PipeGuard from a client's file: absolute, and valid after an upgrade.

A client starts servers with a PATH of its own, so the path is absolute. Links in it are not
resolved: a link stays in its place when an upgrade replaces the folder behind it.
"""

# Path.resolve would follow links.
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from os.path import abspath, basename, dirname, exists, expanduser, isabs, isdir, join, realpath
from pathlib import Path

from pipeguard.errors import InputError
from pipeguard.installation import INSTALL

_NAMES = ("pipeguard", "pipeguard.exe")
# Environments that a tool installs for commands, and does not delete.
_PERMANENT = (("pipx", "venvs"), ("uv", "tools"), ("share", "pipeguard"))
_CACHES = {".cache", "Caches", "archive-v0", "builds-v0", "_npx", ".tox", ".nox"}
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  looked at, not written to
_IS_TEMPORARY = "is in a temporary folder"
_IS_CACHED = "is in a cache, which is emptied"
_HEAD_BYTES = 4096  # of a console script, in which its interpreter is
_VERSIONED = {"Cellar", "versions", "installs"}  # Homebrew; pyenv; mise and asdf


class LauncherError(InputError):
    """No permanent path to PipeGuard was found.

    Attributes:
        path: a path that a person may choose anyway, or empty.
    """

    path = ""


def launcher(given: str | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The words that start PipeGuard.

    Args:
        given: a path that a person asks for, used as it is; None to find one.
        environment: the variables to read PATH from.

    Raises:
        LauncherError: the path is not a program, or no permanent path was found.
    """
    if given is not None:
        path = abspath(expanduser(given))
        if not os.access(path, os.X_OK) or isdir(path):
            raise LauncherError(f"{path} is not a program.\n  Give the path of pipeguard itself.")
        return (path,)
    refused = {}
    for path in _candidates(environment):
        why = unstable(Path(path))
        if not why:
            return (path,)
        refused[path] = f"{path} {why}"
    python = abspath(sys.executable) if sys.executable else ""
    why = unstable(Path(python)) if python else "is not known"
    if python and not why:
        return (python, "-I", "-m", "pipeguard")
    reasons = "\n  ".join((*refused.values(), f"{python or 'Python'} {why}"))
    soon = (_IS_TEMPORARY, _IS_CACHED)
    usable = next((path for path in refused if unstable(Path(path)) not in soon), "")
    choice = shlex.quote(usable) if usable else "PATH"
    error = LauncherError(
        "no permanent path to pipeguard was found, for a client's file:\n"
        f"  {reasons}\n"
        f"  {INSTALL}\n"
        f"  Or say that it stays where it is:  --launcher {choice}"
    )
    error.path = usable
    raise error


def isolate_launcher(words: Sequence[str]) -> tuple[str, ...]:
    """Return launcher words whose interpreter ignores the Python settings of an entry.

    A script's interpreter gets the entry's environment, and a `sitecustomize` in its PYTHONPATH
    would run before our first line. With -E the interpreter ignores it; the server still gets it.

    Returns:
        The words, unchanged if they are not a Python script or have options of their own.
    """
    # A bare name is looked up on PATH by its client, which does not find a file of this folder.
    is_script = len(words) == 1 and isabs(words[0])
    python = _interpreter(words[0]) if is_script else ""
    return (python, "-E", "-P", "-m", "pipeguard") if python else tuple(words)


def _interpreter(script: str) -> str:
    """Find the interpreter that a console script's first lines name; empty if they do not."""
    try:
        with open(script, "rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    first = head[0] if head[:1] and head[0].startswith("#!") else ""
    path = first.removeprefix("#!").strip()
    if first == "#!/bin/sh" and head[1:] and head[1].startswith("'''exec' "):
        path = next(iter(shlex.split(head[1].removeprefix("'''exec' "))), "")  # a path with spaces
    is_python = basename(path).startswith(("python", "pypy")) and isabs(path)
    return path if is_python and os.access(path, os.X_OK) else ""


def programs(name: str, path: str) -> Iterator[str]:
    """Each program of a name on a PATH, in order, as an absolute path.

    Relative folders are skipped, the current one too: its files may come with a repository that a
    person has just cloned.
    """
    endings = ("", *os.environ.get("PATHEXT", "").split(";")) if os.name == "nt" else ("",)
    for folder in path.split(os.pathsep):
        if isabs(folder):
            files = (join(folder, name + ending) for ending in endings)
            yield from filter(None, map(shutil.which, files))


def unstable(path: Path) -> str:
    """Explain why a path will not last, as words that follow it; empty if it will."""
    parts = path.parts
    home = Path.home()
    temporary = {*_TEMPORARY, tempfile.gettempdir(), realpath(tempfile.gettempdir())}
    # In a home folder that is temporary itself, it lasts as long as the files that name it.
    same = home.parents if home in path.parents else ()
    if any(Path(name) in path.parents and Path(name) not in same for name in temporary):
        return _IS_TEMPORARY
    if _CACHES & set(parts):
        return _IS_CACHED
    if _VERSIONED & set(parts):
        return "is in the folder of one version, which an upgrade replaces"
    if any(first in parts and second in parts for first, second in _PERMANENT):
        return ""
    if (path.parent.parent / "pyvenv.cfg").exists():
        return "is in a virtual environment, which is deleted with its project"
    return ""


def _candidates(environment: Mapping[str, str]) -> Iterator[str]:
    on_path = next(programs("pipeguard", environment.get("PATH", os.defpath)), None)
    if on_path:
        yield on_path
    program = sys.argv[0] if sys.argv else ""
    # A name without a folder is what was typed, not where it was found.
    if dirname(program) and basename(program) in _NAMES and exists(program):
        yield abspath(program)
    if sys.executable:
        for name in _NAMES:
            beside = join(dirname(abspath(sys.executable)), name)
            if exists(beside):
                yield beside
