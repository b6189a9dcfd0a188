"""The age of PipeGuard itself, by its date of installation; no registry is asked."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pipeguard.version
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.clients.catalog import clients
from pipeguard.firewall.finding import Severity
from pipeguard.installation import PACKAGE, UPGRADE, reinstall_command

OLD = PostureCheck(
    "pipeguard-old",
    "This PipeGuard, with its rules, was installed long ago",
    Severity.LOW,
    "Formats of secrets, tricks of injection and clients' files change; the rules come with the "
    "program.",
    "Install the newest version, the way you installed this one.",
    UPGRADE,
)
FACTS = PostureCheck(
    "client-facts-old",
    "PipeGuard's knowledge of a client's files is old",
    Severity.INFO,
    "Clients move their files. A server in an unknown place is not found.",
    "Compare with the client's own list of servers, and install the newest version.",
    UPGRADE,
)
CHECKS = (OLD, FACTS)
MOST_DAYS = 180
MOST_MONTHS = 18
_DAY_SECONDS = 86_400


def look(target: AssessmentTarget) -> Iterator[PostureFinding]:
    """Check this installation, and the clients that were found."""
    if target.is_repository:
        return
    days = (time.time() - _find_install_time()) / _DAY_SECONDS
    if days > MOST_DAYS:
        version = pipeguard.version.VERSION
        message = f"PipeGuard {version} was installed {days:.0f} days ago."
        yield OLD.at(None, message, fix=tuple(shlex.split(reinstall_command())))
    now = date.today()  # noqa: DTZ011  the user's own calendar
    for name in sorted({spec.client for config in target.configs for spec in config.specs}):
        checked = clients()[name].checked if name in clients() else ""
        if not checked:
            continue
        year, month = (int(part) for part in checked.split("-"))
        months = (now.year - year) * 12 + now.month - month
        if months > MOST_MONTHS:
            yield FACTS.at(None, f"{clients()[name].name}: looked up in {checked}.", key=name)


def _find_install_time() -> float:
    """The time at which the package was installed: pip writes its metadata then."""
    try:
        files = distribution(PACKAGE).files or ()
    except PackageNotFoundError:
        files = ()
    for file in files:
        if file.name == "METADATA":
            path = Path(str(file.locate()))
            if path.exists():
                return path.stat().st_mtime
    return Path(pipeguard.version.__file__).stat().st_mtime
