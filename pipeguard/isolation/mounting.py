"""Mounts by descriptor, in a mount namespace of this process's own (mount(2), mount_setattr(2)).

A path is opened component by component without following links, and the opened file itself is
mounted: the path cannot be replaced between a check and the mount.

Runs in the process that becomes the server, between fork and exec, without threads.
"""

import ctypes
import errno
import os
import stat
import sys

assert sys.platform == "linux"  # noqa: S101  tells mypy which system's names to look up

# linux/mount.h, linux/fcntl.h; numbers of calls that are alike everywhere
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_RELATIME = 0x20, 0x1000, 0x4000, 0x200000
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
OPEN_TREE_CLONE, MOVE_EMPTY_PATHS, MNT_DETACH, UMOUNT_NOFOLLOW = 1, 0x44, 2, 8
CLONE_NEWNS = 0x00020000
AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
LINK_FREE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT = MS_NOSUID | MS_NODEV | MS_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME

_LIBRARY = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """`struct mount_attr`."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user"))


def open_folder(path: str) -> int:
    """Open a path that neither passes through a link nor is one.

    Raises:
        OSError: a part of it is a link now, or does not exist; with ESTALE.
    """
    root = os.open("/", LINK_FREE)
    try:
        return open_below(root, path)
    finally:
        os.close(root)


def open_below(folder: int, path: str) -> int:
    """Open a path in a folder; the folder itself for an empty path.

    Raises:
        OSError: a part of it is a link now, or does not exist; with ESTALE.
    """
    place = os.dup(folder)
    for name in (part for part in path.split("/") if part):
        above = place
        try:
            place = os.open(name, LINK_FREE, dir_fd=above)
        except (FileNotFoundError, NotADirectoryError):
            raise OSError(errno.ESTALE, "changed meanwhile", path) from None
        finally:
            os.close(above)
        if name == ".." or stat.S_ISLNK(os.fstat(place).st_mode):
            os.close(place)
            raise OSError(errno.ESTALE, "a link was put here", path)
    return place


def mount_in_memory(place: int, options: str, *, read_only: bool = False) -> None:
    """Mount an empty folder in memory.

    Args:
        place: a descriptor of the mount point.
        options: of tmpfs(5).
        read_only: True if nothing can be put there.

    Raises:
        OSError: the kernel refuses.
    """
    flags = MS_NOSUID | MS_NODEV | (MS_RDONLY if read_only else 0)
    _mount(b"tmpfs", place, b"tmpfs", flags, options.encode())


def bind(source: int, place: int) -> None:
    """Mount one descriptor's file at another's, with all mounts inside it.

    Raises:
        OSError: the kernel refuses.
    """
    _mount(b"/proc/self/fd/%d" % source, place, None, MS_BIND | MS_REC, None)


def make_read_only(place: int) -> None:
    """Make a mount read-only, with all mounts inside it.

    Args:
        place: a descriptor that was opened after it was mounted.

    Raises:
        OSError: the kernel refuses.
    """
    try:
        _set(place, MS_RDONLY)
    except OSError as error:
        # Before Linux 5.12, each mount in it would have to be found and changed.
        if error.errno != errno.ENOSYS or _holds_mounts(place):
            raise
    else:
        return
    kept = os.fstatvfs(place).f_flag & _KEPT
    _mount(None, place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_RELATIME | kept, None)


def check_call(result: int, name: str, path: str | None = None) -> None:
    """Raise the error of a call of the C library if it failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), name, path)


def _set(place: int, flags: int) -> None:
    """Add flags to a mount, and to all mounts inside it."""
    wanted = _Attributes(flags, 0, 0, 0)
    to_all = AT_EMPTY_PATH | AT_RECURSIVE
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    result = _LIBRARY.syscall(MOUNT_SETATTR, place, b"", to_all, ctypes.byref(wanted), size)
    check_call(result, "mount_setattr")


def _holds_mounts(place: int) -> bool:
    """True if a mount has other mounts inside it (proc(5), fdinfo and mountinfo)."""
    with open(f"/proc/self/fdinfo/{place}", "rb") as file:
        number = next(line.split()[1] for line in file if line.startswith(b"mnt_id:"))
    with open("/proc/self/mountinfo", "rb") as file:
        return any(line.split()[1] == number for line in file)


def _mount(
    source: bytes | None, place: int, kind: bytes | None, flags: int, options: bytes | None
) -> None:
    target = b"/proc/self/fd/%d" % place
    result = _LIBRARY.mount(source, target, kind, ctypes.c_ulong(flags), options)
    check_call(result, "mount", os.fsdecode(target))


def own_mounts() -> int:
    """Give this process mounts of its own; return a descriptor of them.

    Raises:
        OSError: the kernel refuses.
    """
    leave_namespaces(CLONE_NEWNS)
    return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def leave_namespaces(kinds: int) -> None:
    """Move this process into new namespaces of these kinds.

    Raises:
        OSError: the kernel or a policy of this system does not allow it.
    """
    check_call(_LIBRARY.unshare(kinds), "unshare")


def enter_namespace(namespace: int, kind: int = CLONE_NEWNS) -> None:
    """Enter another namespace; mounts, at their root.

    Raises:
        OSError: it is not ours.
    """
    check_call(_LIBRARY.setns(namespace, kind), "setns")


def copy_detached(place: int) -> int:
    """A detached copy of a mount, with all mounts inside it.

    No program in it gains rights by its owner, and device files in it do not work.

    Raises:
        OSError: the kernel refuses.
    """
    flags = AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | os.O_CLOEXEC
    tree: int = _LIBRARY.syscall(OPEN_TREE, place, b"", flags)
    check_call(tree, "open_tree")
    _set(tree, MS_NOSUID | MS_NODEV)
    return tree


def attach(tree: int, place: int) -> None:
    """Attach a detached mount at a place.

    Raises:
        OSError: the kernel refuses.
    """
    result = _LIBRARY.syscall(MOVE_MOUNT, tree, b"", place, b"", MOVE_EMPTY_PATHS)
    check_call(result, "move_mount")


def detach(name: str) -> None:
    """Unmount a name in the current folder.

    Raises:
        OSError: nothing is mounted there.
    """
    result = _LIBRARY.umount2(os.fsencode(name), MNT_DETACH | UMOUNT_NOFOLLOW)
    check_call(result, "umount2", name)
