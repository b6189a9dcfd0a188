"""Checks of the program itself: its Python, its packages, and the path that starts it."""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from pipeguard.clients.launcher import LauncherError, programs
from pipeguard.clients.launcher import launcher as find_launcher
from pipeguard.clients.machine import Machine
from pipeguard.doctor.diagnosis import Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.installation import INSTALL_AGAIN, PACKAGE, installed_extras
from pipeguard.version import VERSION

START_SECONDS = 20.0  # for a launcher to print its version; half a second is usual
_NAME = re.compile(r"[A-Za-z0-9._-]*")


def python(_machine: Machine) -> Iterable[Diagnosis]:
    """Check the Python that runs this."""
    what = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    if platform.python_implementation() != "CPython":
        yield note(f"{what}; only CPython is tested", "Install PipeGuard with CPython.")
    else:
        yield good(what)


def packages(_machine: Machine) -> Iterable[Diagnosis]:
    """Check that the installation is complete, and all of one version."""
    try:
        installed = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        yield note(f"{VERSION}, run from its folder and not installed", INSTALL_AGAIN)
        return
    if installed.version != VERSION:
        yield wrong(
            f"the package says version {installed.version}, the code {VERSION}: "
            "parts of two installations are mixed",
            INSTALL_AGAIN,
        )
    missing = list(_missing(installed.requires or ()))
    if missing:
        yield wrong(f"required packages are missing: {', '.join(missing)}", INSTALL_AGAIN)
    elif installed.version == VERSION:
        extras = installed_extras()
        added = f", and the extras {', '.join(extras)}" if extras else ""
        yield good(f"{VERSION}, with all required packages{added}")


def launcher(machine: Machine) -> Iterable[Diagnosis]:
    """Check that clients' files can have a lasting path to this program, and PATH its name."""
    try:
        words = find_launcher(None, machine.environment)
    except LauncherError as error:
        paths = "; ".join(line.strip() for line in str(error).splitlines()[1:-2])
        yield wrong(
            f"clients need a path to pipeguard that lasts, and there is none: {paths}",
            INSTALL_AGAIN,
        )
        return
    version = read_version(words)
    shown = shlex.join(words)
    if version == VERSION:
        yield good(f"clients get {shown}")
    elif version:
        yield wrong(f"{shown} is version {version}, and this is {VERSION}", INSTALL_AGAIN)
    else:
        yield wrong(f"{shown} does not start", INSTALL_AGAIN)
    programs = list(_on_path(machine))
    if not programs:
        yield note("`pipeguard` is not on your PATH", "Add its folder to your PATH.")
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
    """Return the version that a launcher prints; empty if it does not start or prints none.

    It starts in the user's home directory. In the current one, an interpreter, a package runner or
    a version manager would use modules, packages and settings of a cloned repository.
    """
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


def _on_path(machine: Machine) -> Iterator[str]:
    """Yield each program of our name on the PATH, in order, without further links to one file."""
    seen: set[str] = set()
    for path in programs("pipeguard", machine.environment.get("PATH", os.defpath)):
        if (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            yield path


def _missing(requires: Iterable[str]) -> Iterator[str]:
    """Required packages that are not installed (PEP 508)."""
    for line in requires:
        marker = line.partition(";")[2]
        name = "".join(_NAME.findall(line)[:1])
        if "extra" not in marker and "platform" not in marker:  # these have checks of their own
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                yield name
