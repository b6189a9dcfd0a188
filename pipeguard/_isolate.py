"""Keeps the server's Python settings and the client's directory out of our own imports.

A client starts us with the environment and the directory that are meant for the server. A json.py
in its PYTHONPATH, or in a cloned repository where `python -m pipeguard` is started, would run
inside the firewall. If anything of that kind is set, this process restarts with -E (no PYTHON*
variables) and -P (no script's or current directory on the path). The environment is unchanged, so
the server still gets what was meant for it.

This runs first and therefore imports only modules that are frozen into the interpreter. It cannot
undo what the interpreter did earlier: a sitecustomize in PYTHONPATH has already run, though not in
the process that guards. `python -E -P -m pipeguard` avoids even that; `setup` writes it into an
entry that sets such a variable (clients.launcher).
"""

from __future__ import annotations

import os
import sys

# Variables that decide where modules come from, or import one (Python, "Command line and
# environment"). Clients' files often have PYTHONUNBUFFERED or PYTHONUTF8, which are harmless.
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
# For a PipeGuard that was found through PYTHONPATH or the directory: its folder goes last on the
# path, so that no file there replaces a module of Python or of an installed package.
BOOT = (
    "import sys; sys.path.append(sys.argv.pop(1)); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def ensure() -> None:
    """Return if our imports are safe; otherwise restart the process, and do not return."""
    if not _is_exposed():
        _forget_script_folder()
    elif sys.executable:
        _restart([*command("pipeguard"), *sys.argv[1:]])
    else:  # embedded: there is no program to restart, but these folders can be left out
        sys.path[:] = _own_path()


def command(module: str) -> list[str]:
    """The command that runs a module of this very package as a program, safely isolated."""
    return [sys.executable, *_options(), *_target(module)]


def _is_exposed() -> bool:
    """True if a setting meant for the server decides what we import."""
    if not sys.flags.ignore_environment and any(map(os.environ.get, IMPORT_VARIABLES)):
        return True
    return not sys.flags.safe_path and sys.path[:1] in ([""], [_directory()])


def _forget_script_folder() -> None:
    """Drop a console script's folder from the path: it comes first, and has no module of ours."""
    script = os.path.abspath(sys.argv[0])
    if sys.path[:1] == [os.path.dirname(script)] and not script.endswith("__main__.py"):
        del sys.path[0]


def _options() -> list[str]:
    """The options to restart with; -E also drops PYTHONNOUSERSITE and PYTHONDONTWRITEBYTECODE."""
    options = ["-E", "-P"]
    if sys.flags.no_user_site:
        options.append("-s")
    if sys.flags.dont_write_bytecode:
        options.append("-B")
    return options


def _target(module: str) -> list[str]:
    """The arguments that run a module of this very package in the new interpreter."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if folder in _own_path():
        return ["-m", module]
    return ["-c", BOOT, folder, module]


def _own_path() -> list[str]:
    """sys.path without the current directory and the entries of PYTHONPATH."""
    theirs = {_directory()}
    for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        theirs.add(os.path.abspath(entry) if entry else "")
    return [entry for entry in sys.path if entry and os.path.abspath(entry) not in theirs]


def _directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # deleted, so nothing can be imported from it
        return ""


def _restart(argv: list[str]) -> None:
    if os.name != "nt":
        os.execv(argv[0], argv)  # noqa: S606  our own interpreter, no shell
    # Windows has no exec. The new process shares our standard streams, and ends with its client.
    sys.path[:] = _own_path()
    import subprocess

    raise SystemExit(subprocess.call(argv))
