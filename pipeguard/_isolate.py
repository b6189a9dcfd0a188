"""Keeps the server's Python settings and the client's directory out of our own imports.

A client starts us with the environment and in the directory that are meant for the server. A
json.py in its PYTHONPATH, or in a cloned repository where `python -m pipeguard` is started, would
run inside the firewall. So if anything of that kind is set, this process starts anew with -E (no
PYTHON* variables) and -P (no directory of ours, or of the client, in front of the path), with its
environment unchanged: the server gets what was meant for it.

It runs before all else, so it imports only what the interpreter has frozen in. It cannot undo
what the interpreter itself did before it: a sitecustomize in PYTHONPATH has run by now, though not
in the process that guards. `python -I -m pipeguard`, or a console script with -I, avoids even that.
"""

# ruff: noqa: PTH100, PTH109, PTH120
# pathlib costs 5 ms, and the server is not running yet
from __future__ import annotations

import os
import sys

# What decides where modules come from, or imports one (Python, "Command line and environment").
# PYTHONUNBUFFERED, PYTHONUTF8 and their like are common in client configurations, and harmless.
IMPORT_VARIABLES = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONPLATLIBDIR",
    "PYTHONUSERBASE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONCASEOK",
    "PYTHONEXECUTABLE",
    "PYTHONOPTIMIZE",
    "PYTHONWARNINGS",
    "PYTHONINSPECT",
    "PYTHON_FROZEN_MODULES",
    "PYTHON_PRESITE",
)
# For a PipeGuard that only PYTHONPATH or the directory held: found last, so that nothing beside
# it takes the place of a module of Python or of an installed package.
BOOT = (
    "import sys; sys.path.append(sys.argv.pop(1)); import runpy; "
    "runpy.run_module('pipeguard', run_name='__main__', alter_sys=True)"
)


def ensure() -> None:
    """Return if our imports are our own; otherwise start anew, and do not return."""
    if not _is_exposed():
        _forget_script_folder()
    elif sys.executable:
        _start_anew([sys.executable, *_options(), *_target(), *sys.argv[1:]])
    else:  # embedded: no program to start anew, but we can stop looking there
        sys.path[:] = _own_path()


def _is_exposed() -> bool:
    """Whether something that is meant for the server decides what we import."""
    if not sys.flags.ignore_environment and any(map(os.environ.get, IMPORT_VARIABLES)):
        return True
    return not sys.flags.safe_path and sys.path[:1] in ([""], [_directory()])


def _forget_script_folder() -> None:
    """A console script's own folder stands first on the path, and nothing of ours is there."""
    script = os.path.abspath(sys.argv[0])
    if sys.path[:1] == [os.path.dirname(script)] and not script.endswith("__main__.py"):
        del sys.path[0]


def _options() -> list[str]:
    """-E also forgets PYTHONNOUSERSITE and PYTHONDONTWRITEBYTECODE, which only ever narrow."""
    options = ["-E", "-P"]
    if sys.flags.no_user_site:
        options.append("-s")
    if sys.flags.dont_write_bytecode:
        options.append("-B")
    return options


def _target() -> list[str]:
    """How the new interpreter finds this package, which it must not find by luck."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if home in _own_path():
        return ["-m", "pipeguard"]
    return ["-c", BOOT, home]


def _own_path() -> list[str]:
    """sys.path without what the environment and the way we were started put there."""
    theirs = {_directory()}
    for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        theirs.add(os.path.abspath(entry) if entry else "")
    return [entry for entry in sys.path if entry and os.path.abspath(entry) not in theirs]


def _directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted: nothing can be imported from there
        return ""


def _start_anew(argv: list[str]) -> None:
    if os.name != "nt":
        os.execv(argv[0], argv)  # noqa: S606  our own interpreter, no shell
    # Windows has no exec. The new process shares our standard streams, and ends with its client.
    sys.path[:] = _own_path()
    import subprocess

    raise SystemExit(subprocess.call(argv))
