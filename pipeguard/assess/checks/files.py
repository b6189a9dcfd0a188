"""Permissions of clients' files."""

import os
import stat
from pathlib import Path

from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, read_checks
from pipeguard.clients.entries import Config
from pipeguard.clients.masking import is_secret

WRITABLE, READABLE = CHECKS = read_checks("files")


def look(target: AssessmentTarget) -> Findings:
    """Check every file; only on systems with POSIX permissions."""
    if os.name != "posix":
        return
    for config in target.configs:
        yield from _of(config, shared=target.is_repository)


def _of(config: Config, *, shared: bool) -> Findings:
    try:
        path = Path(os.path.realpath(config.path))  # Path.resolve raises on a loop of links
        status = path.stat()
        folder = path.parent.stat()
    except OSError:
        return
    if status.st_mode & stat.S_IWOTH:
        fix = ("chmod", "go-w", str(config.path))
        yield WRITABLE.at(config.path, "Everybody on this machine can write it.", fix=fix)
    elif folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        fix = ("chmod", "go-w", str(path.parent))
        yield WRITABLE.at(
            config.path, "Everybody can write its folder, and put another file there.", fix=fix
        )
    if shared or not status.st_mode & (stat.S_IROTH | stat.S_IRGRP) or not _is_reached(path):
        return
    values = [
        (name, value)
        for server in config.servers
        for name, value in (*server.env.items(), *server.headers.items())
    ]
    if any(is_secret(name, value) and "$" not in value for name, value in values):
        readers = "everybody on this machine" if status.st_mode & stat.S_IROTH else "its group"
        fix = ("chmod", "go-r", str(config.path))
        yield READABLE.at(config.path, f"It can be read by {readers}.", fix=fix)


def _is_reached(path: Path) -> bool:
    """True if others may enter all folders above the file."""
    try:
        return all(folder.stat().st_mode & (stat.S_IXOTH | stat.S_IXGRP) for folder in path.parents)
    except OSError:
        return False
