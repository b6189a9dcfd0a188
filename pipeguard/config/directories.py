"""The folders of settings and caches on this system, and other users' write access to files.

Knows folders and rights, not the contents of files. On Linux it follows the XDG base directory
specification by itself: platformdirs takes 7 ms to import, and a server is waiting.
"""

import os
import stat
import sys
from enum import Enum

from pipeguard.errors import PipeGuardError, StateError

CACHE_DIR_VARIABLE = "PIPEGUARD_CACHE_DIR"


def config_folder() -> str:
    """The folder of the user's policy and own rule packs; it need not exist."""
    return _find_folder("XDG_CONFIG_HOME", "~/.config", "config")


def usual_state_folder() -> str:
    """The system's own folder for pins and audit; it need not exist."""
    return _find_folder("XDG_STATE_HOME", "~/.local/state", "state")


def cache_folder() -> str:
    """The folder of data that can be made again; it need not exist.

    It is the system's own unless `PIPEGUARD_CACHE_DIR` names another.
    """
    override = os.environ.get(CACHE_DIR_VARIABLE)
    if override:
        return os.path.abspath(os.path.expanduser(override))
    return _find_folder("XDG_CACHE_HOME", "~/.cache", "cache")


def usual_cache_folder() -> str:
    """The cache folder of a server whose client passes no variables on but HOME and PATH."""
    return _find_folder("", "~/.cache", "cache")


def system_folder() -> str:
    """The folder of what an administrator decides for all users here; it need not exist."""
    if sys.platform != "linux":
        import platformdirs

        return platformdirs.site_config_dir("pipeguard", appauthor=False)
    return "/etc/pipeguard"  # no variable names another: a user could set it


def _find_folder(variable: str, usual: str, kind: str) -> str:
    """PipeGuard's folder of a kind, in the folder of a variable or else the usual one.

    Raises:
        StateError: the home folder is unknown. The path would be relative to the current folder,
            where a cloned repository could have put a policy and pins.
    """
    if sys.platform != "linux":
        import platformdirs

        folder: str = getattr(platformdirs, f"user_{kind}_dir")("pipeguard", appauthor=False)
        return folder
    folder = os.environ.get(variable, "").strip()
    if not os.path.isabs(folder):
        folder = os.path.expanduser(usual)
    if not os.path.isabs(folder):
        raise StateError(
            "no home folder is known, so there is no place for pins and settings: HOME is not set,"
            " or no absolute path.\n  Set it, as HOME=/home/you, and start again."
        )
    return os.path.join(folder, "pipeguard")


class Trusted(Enum):
    """Users who may write a file without a warning."""

    ONLY_US = "only us"  # not root, no group: the file is as good as code
    OWN_GROUP = "own group"  # we, root, and a group to which only the owner belongs
    ANY_GROUP = "any group"  # we, root, and the file's group
    ADMINISTRATOR = "administrator"  # only root


def other_writer(status: os.stat_result, trusted: Trusted = Trusted.OWN_GROUP) -> str:
    """Name others who could have written a file or folder, for a message; empty if nobody could.

    A group with only the owner in it does not count: with user private groups, every file of a user
    is open to the group (pam_umask(8), `usergroups`).
    """
    if os.name != "posix":  # there the access list of the user's own folder keeps others out
        return ""
    if not _is_owned(status, trusted):
        return f"another user (uid {status.st_uid})"
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if not status.st_mode & stat.S_IWGRP or trusted is Trusted.ANY_GROUP:
        return ""
    if trusted is Trusted.OWN_GROUP and _has_one_member(status.st_gid, status.st_uid):
        return ""
    return "its group"


def closing_command(path: str, status: os.stat_result, trusted: Trusted = Trusted.OWN_GROUP) -> str:
    """The command that takes a file or folder from the writer that `other_writer` names."""
    from shlex import quote

    is_system = trusted is Trusted.ADMINISTRATOR
    if not _is_owned(status, trusted):
        return f"sudo chown -R {0 if is_system else os.geteuid()} {quote(path)}"
    return f"{'sudo ' * is_system}chmod go-w {quote(path)}"


def _is_owned(status: os.stat_result, trusted: Trusted) -> bool:
    """True if a file is ours, or root's and root is trusted."""
    if status.st_uid == 0:
        return trusted is not Trusted.ONLY_US or os.geteuid() == 0
    return status.st_uid == os.geteuid() and trusted is not Trusted.ADMINISTRATOR


def _has_one_member(gid: int, uid: int) -> bool:
    """True if a user is the only one in a group, by the group's entry and by all passwd entries."""
    import grp  # here, because few files are open to their group
    import pwd

    try:
        user = pwd.getpwuid(uid)
        members = grp.getgrgid(gid).gr_mem
    except KeyError:
        return False
    others = (entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == gid)
    return user.pw_gid == gid and set(members) <= {user.pw_name} and set(others) <= {uid}


def read_own(
    path: str,
    limit_bytes: int,
    error: type[PipeGuardError],
    *,
    trusted: Trusted = Trusted.OWN_GROUP,
) -> bytes:
    """Read a file that decides which messages pass, unless another user could have written it.

    Args:
        path: of the file.
        limit_bytes: of its size.
        error: the type to raise.
        trusted: who may write it.

    Raises:
        PipeGuardError: of the given type, with the remedy.
    """
    content, status = read(path, limit_bytes, error)
    folder = os.path.dirname(os.path.abspath(path))
    for place, at in ((path, status), (folder, os.stat(folder))):
        is_sticky = place == folder and at.st_mode & stat.S_ISVTX  # others cannot replace our file
        if not is_sticky and (who := other_writer(at, trusted)):
            raise error(
                f"{who} may write to {place}, so {'it' if place == path else path} is not used.\n"
                f"  Close it:  {closing_command(place, at, trusted)}"
            )
    return content


def read(path: str, limit_bytes: int, error: type[PipeGuardError]) -> tuple[bytes, os.stat_result]:
    """Read a small file; return its content and its status.

    Raises:
        PipeGuardError: of the given type: it cannot be read, is too large, or not a regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise error(f"{path} is not a regular file.")
            chunks = []
            left = limit_bytes + 1
            while left and (chunk := os.read(descriptor, left)):
                chunks.append(chunk)
                left -= len(chunk)
        finally:
            os.close(descriptor)
    except OSError as fault:
        raise error(f"{path} cannot be read: {fault.strerror}.") from None
    if not left:
        raise error(f"{path} is larger than {limit_bytes} bytes.")
    return b"".join(chunks), status
