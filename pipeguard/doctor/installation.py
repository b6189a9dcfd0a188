"""Checks of the program itself: its Python, its packages, and the path that starts it."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from pipeguard.doctor.diagnosis import Case, Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.installation import (
    EXTRAS,
    PACKAGE,
    find_installer,
    install_command,
    installed_extras,
    reinstall_command,
)
from pipeguard.version import VERSION

START_SECONDS = 20.0  # for a launcher to print its version; half a second is usual
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)(;.*)?")
_BOUND = re.compile(r"(>=|<)\s*(\d+(?:\.\d+)*)")


def python(_case: Case) -> Iterable[Diagnosis]:
    """The Python that runs this, and the way PipeGuard was installed."""
    what = (
        f"{platform.python_implementation()} {platform.python_version()} ({_program()}), {_way()}"
    )
    if platform.python_implementation() != "CPython":
        yield note(f"{what}; only CPython is tested", "Install PipeGuard with CPython.")
    else:
        yield good(what)


def packages(_case: Case) -> Iterable[Diagnosis]:
    """True if the installation is complete, and all of one version."""
    try:
        installed = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        yield note(f"{VERSION}, run from its folder and not installed", reinstall_command())
        return
    if installed.version != VERSION:
        yield wrong(
            f"the package says version {installed.version}, the code {VERSION}: "
            "parts of two installations are mixed",
            reinstall_command(),
        )
    unfit = list(_unfit(installed.requires or ()))
    if unfit:
        yield wrong(f"required packages are missing: {', '.join(unfit)}", reinstall_command())
    elif installed.version == VERSION:
        extras = installed_extras()
        missing = [extra for extra in EXTRAS if extra not in extras]
        added = f", and the extras {', '.join(extras)}" if extras else ""
        without = f"; without {', '.join(missing)}, which few need" if missing else ""
        yield good(f"{VERSION}, with all required packages{added}{without}")


def launcher(case: Case) -> Iterable[Diagnosis]:
    """True if a client's file can have a lasting path to this program, and PATH has its name."""
    from pipeguard.clients.launcher import LauncherError
    from pipeguard.clients.launcher import launcher as words_for

    try:
        words = words_for(None, case.environment)
    except LauncherError as error:
        paths = "; ".join(line.strip() for line in str(error).splitlines()[1:-2])
        yield wrong(
            f"clients need a path to pipeguard that lasts, and there is none: {paths}",
            install_command(),
        )
        return
    version = read_version(words)
    shown = shlex.join(words)
    if version == VERSION:
        yield good(f"clients get {shown}")
    elif version:
        yield wrong(f"{shown} is version {version}, and this is {VERSION}", reinstall_command())
    else:
        yield wrong(f"{shown} does not start", reinstall_command())
    programs = list(_on_path(case))
    if not programs:
        yield note("`pipeguard` is not on your PATH, so you cannot type its commands", _path())
    elif len(programs) > 1:
        first, *others = programs
        yield note(
            f"{first} comes first on your PATH, and hides {', '.join(others)}",
            "Remove the ones that you do not use.",
        )


CHECKS = (
    InstallationCheck("python", "Python", python),
    InstallationCheck("packages", "packages", packages),
    InstallationCheck(
        "launcher", "launcher", launcher, waits="starting pipeguard as a client would"
    ),
)


def read_version(words: Sequence[str]) -> str:
    """The version that a launcher prints; empty if it does not start or prints none.

    It is started in the user's home directory. In the current one, an interpreter, a package
    runner or a version manager would use modules, packages and settings of whatever was cloned.
    """
    from pipeguard.clients.launcher import programs

    first, *rest = words
    if Path(first).name == first:
        first = next(programs(first, os.environ.get("PATH", os.defpath)), "")
    try:
        done = subprocess.run(
            [first, *rest, "--version"],
            cwd=Path.home() if Path.home().is_dir() else Path(sys.executable).parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=START_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.fullmatch(r"pipeguard, version (\S{1,40})\s*", done.stdout)
    return match[1] if match and done.returncode == 0 else ""


def _way() -> str:
    """Describe how PipeGuard was installed."""
    way = find_installer()
    if way == "uvx":
        return "run by uvx from a cache"
    if way == "venv":
        return f"in the virtual environment {sys.prefix}"
    return "installed for this Python" if way == "pip" else f"installed by {way}"


def _program() -> str:
    return sys.executable or "python3"


def _path() -> str:
    """The command that puts the folder with the programs on the PATH."""
    way = find_installer()
    if way == "pipx":
        return "pipx ensurepath"
    if way in ("uv tool", "uvx"):
        return "uv tool update-shell"
    folder = Path(_program()).parent
    linked = Path(os.path.normpath(folder / "../../../bin"))  # by `make install`
    if (linked / "pipeguard").resolve() == (folder / "pipeguard").resolve():
        folder = linked
    return f'export PATH="{folder}:$PATH"'


def _on_path(case: Case) -> Iterator[str]:
    """Each program of our name on the PATH, in order, without further links to the same file."""
    from pipeguard.clients.launcher import programs

    seen: set[str] = set()
    for path in programs("pipeguard", case.environment.get("PATH", os.defpath)):
        if (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            yield path


def _unfit(requires: Iterable[str]) -> Iterator[str]:
    """Packages that are missing, or of a version that does not fit (PEP 508)."""
    for line in requires:
        name, bounds, marker = _parts(line)
        if "extra" in marker:
            continue
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            if "platform" not in marker:  # what only some systems need has its own check
                yield name
            continue
        if not all(_holds(version, *bound) for bound in _BOUND.findall(bounds)):
            yield f"{name} {bounds.strip()} (there is {version})"


def _parts(line: str) -> tuple[str, str, str]:
    match = _REQUIREMENT.match(line)
    return (match[1], match[2] or "", match[3] or "") if match else (line, "", "")


def _holds(version: str, sign: str, bound: str) -> bool:
    actual, limit = (_first_three(text) for text in (version, bound))
    return actual >= limit if sign == ">=" else actual < limit


def _first_three(version: str) -> tuple[int, ...]:
    """The first three numbers of a version, filled up with zeros."""
    numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
    return numbers + (0,) * (3 - len(numbers))
