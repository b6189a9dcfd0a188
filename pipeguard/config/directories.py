"""Where settings and caches lie on this system, and which files of them may be believed.

Knows folders and rights, not what is in a file. On Linux it reads the XDG base directory
specification by itself: platformdirs takes 7 ms to import, and a server is waiting.
"""

from __future__ import annotations

import os
import stat
import sys

from pipeguard.errors import PipeGuardError, StateError

CACHE_DIR_VARIABLE = "PIPEGUARD_CACHE_DIR"
_LINUX = sys.platform == "linux"


def config_folder() -> str:
    """The folder of the user's policy and own rule packs; it need not exist."""
    if _LINUX:
        return _xdg("XDG_CONFIG_HOME", "~/.config")
    from platformdirs import user_config_dir

    return user_config_dir("pipeguard", appauthor=False)


def usual_state_folder() -> str:
    """The system's own folder for pins and audit; it need not exist."""
    if _LINUX:
        return _xdg("XDG_STATE_HOME", "~/.local/state")
    from platformdirs import user_state_dir

    return user_state_dir("pipeguard", appauthor=False)


def cache_folder() -> str:
    """The folder of what can be made anew; it need not exist.

    `PIPEGUARD_CACHE_DIR` names another one than the system's own.
    """
    override = os.environ.get(CACHE_DIR_VARIABLE)
    if override:
        return os.path.abspath(os.path.expanduser(override))  # noqa: PTH100, PTH111  pathlib costs 5 ms
    if _LINUX:
        return _xdg("XDG_CACHE_HOME", "~/.cache")
    from platformdirs import user_cache_dir

    return user_cache_dir("pipeguard", appauthor=False)


def usual_cache_folder() -> str:
    """The same where no variable says another: that of a server whose client passes none on."""
    if _LINUX:
        return os.path.join(_at_home("~/.cache"), "pipeguard")  # noqa: PTH118  as above
    from platformdirs import user_cache_dir

    return user_cache_dir("pipeguard", appauthor=False)


def read_own(
    path: str, limit_bytes: int, error: type[PipeGuardError], *, trusts_group: bool = False
) -> bytes:
    """Read a file that decides what passes, unless another user could have written it.

    Args:
        path: of a file of ours or of root's, which nobody else may write.
        limit_bytes: of its size.
        error: what to raise.
        trusts_group: True for a file beside our code, which its group may write as well.

    Raises:
        PipeGuardError: of the given type, with what to do about it.
    """
    content, status = read(path, limit_bytes, error)
    if os.name == "posix":
        if status.st_uid not in (0, os.geteuid()):
            owner = status.st_uid
            raise error(f"{path} belongs to another user (uid {owner}), so it is not believed.")
        who = writers(status)
        if who and not (trusts_group and who == _GROUP):
            from shlex import quote

            raise error(
                f"{who} may write to {path}, so it is not believed.\n"
                f"  Close it:  chmod go-w {quote(path)}"
            )
    return content


_GROUP = "its group"


def writers(status: os.stat_result) -> str:
    """Who may write a file or folder of ours beside its owner and root: words for a message.

    Empty where nobody may. A group to which only the owner belongs is nobody else: with groups of
    that kind, whatever a user writes is open to the group (pam_umask(8), `usergroups`).
    """
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    is_open = status.st_mode & stat.S_IWGRP and not _is_alone(status.st_uid, status.st_gid)
    return _GROUP if is_open else ""


def _is_alone(uid: int, gid: int) -> bool:
    """True where no other user belongs to a group, neither as a member nor by a passwd entry."""
    import grp  # here, since few files are open to their group
    import pwd

    try:
        user, members = pwd.getpwuid(uid), grp.getgrgid(gid).gr_mem
    except KeyError:
        return False
    others = (one.pw_uid for one in pwd.getpwall() if one.pw_gid == gid)
    return user.pw_gid == gid and set(members) <= {user.pw_name} and set(others) <= {uid}


def read(path: str, limit_bytes: int, error: type[PipeGuardError]) -> tuple[bytes, os.stat_result]:
    """Read a small file; return its content, and what the system says of it.

    Raises:
        PipeGuardError: of the given type: it cannot be read, or is no small file.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise error(f"{path} is no file.")
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


def _xdg(variable: str, default: str) -> str:
    folder = os.environ.get(variable, "").strip()
    if not os.path.isabs(folder):  # noqa: PTH117  a relative one is to be ignored, says XDG
        folder = _at_home(default)
    return os.path.join(folder, "pipeguard")  # noqa: PTH118  pathlib costs 5 ms


def _at_home(path: str) -> str:
    """A path that begins with `~`, written out.

    Raises:
        StateError: no home folder is known. Then it would be a place in the current folder, where a
            repository that was only cloned could have put a policy and pins of its own.
    """
    found = os.path.expanduser(path)  # noqa: PTH111  pathlib costs 5 ms
    if not os.path.isabs(found):  # noqa: PTH117  the same
        raise StateError(
            "no home folder is known, so there is no place for pins and settings: HOME is not set,"
            " or no absolute path.\n  Set it, as HOME=/home/you, and start again."
        )
    return found
