"""Landlock, a second wall inside the sandbox: the kernel's own rules for a process's files.

Files left out of a namespace do not exist in it; Landlock refuses files that it does not name even
if they can be reached, for example through a descriptor of a folder outside. Its rules follow the
view: read, or change. They add up from a path to its parents, so that a read-only path in a
changeable folder is so only by its mount. No signal leaves the sandbox, and no abstract socket is
reached. There are no rules for connections: every address of its network leads to PipeGuard.

A small program applies the rules inside the sandbox and then executes the server (`_landlock.c`,
hatch_build.py). If it was not built, or the kernel is too old, the server runs without them, and
`pipeguard doctor isolation` says so.
"""

import ctypes
import os
import sys

from pipeguard.isolation.view import FileView, MountKind

PROGRAM = os.path.join(os.path.dirname(__file__), "_landlock")
CREATE_RULESET, ONLY_VERSION = 444, 1  # alike on all machines; linux/landlock.h
SCOPES = 3  # abstract sockets and signals (LANDLOCK_SCOPE_*)
LEAST_WITH_SCOPES = 6
LEAST_VERSION = 2  # before Linux 5.19, renaming from folder to folder was impossible


# Access rights to a file, as bits (linux/landlock.h, LANDLOCK_ACCESS_FS_*). No enum of flags, which
# takes 2 ms to make: a server is waiting.
EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
CHANGE_FOLDER = 0x17B0  # remove and make files, folders, links and sockets in it
MAKE_DEVICE = 0x0840
REFER, TRUNCATE, IOCTL_OF_DEVICE = 1 << 13, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_FOLDER
USE = READ_FILE | WRITE_FILE | READ_FOLDER | TRUNCATE
WRITE = READ | USE | CHANGE_FOLDER | REFER
_BY_KIND = {
    MountKind.READ: READ,
    MountKind.WRITE: WRITE,
    MountKind.EMPTY: WRITE,
    MountKind.FOLDER: READ,  # its working directory
    MountKind.BARE: READ,  # the same
}
# The engine's own paths, outside the view. Folders are listed from the root on.
_ALWAYS = (
    ("/", READ_FOLDER),
    ("/etc", READ),
    ("/proc", USE),
    ("/dev", USE | IOCTL_OF_DEVICE),
    ("/dev/shm", WRITE),  # noqa: S108  its own
)


def version() -> int:
    """The version of Landlock in this kernel; 0 if it has none, or was started without."""
    if sys.platform != "linux":
        return 0
    none = ctypes.c_size_t(0)
    asked = ctypes.c_uint32(ONLY_VERSION)
    return max(0, int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, none, asked)))


def obstacle() -> str | None:
    """Explain why servers run without it here; None if they run with it."""
    found = version()
    if not found:
        return "this kernel has no Landlock, or was started without it"
    if found < LEAST_VERSION:
        return f"this kernel's Landlock has version {found}, and {LEAST_VERSION} is needed"
    if not os.access(PROGRAM, os.X_OK):
        return "its program was not built: there was no C compiler when PipeGuard was installed"
    return None


def write_rules(view: FileView, kernel: int) -> bytes:
    """The rules of a view, as `_landlock.c` reads them.

    Args:
        view: the server's view.
        kernel: the version of the kernel's Landlock; rights that it does not know are left out.
    """
    ruled = WRITE | MAKE_DEVICE | IOCTL_OF_DEVICE
    if kernel < 3:
        ruled &= ~TRUNCATE
    if kernel < 5:
        ruled &= ~IOCTL_OF_DEVICE
    scopes = SCOPES if kernel >= LEAST_WITH_SCOPES else 0
    fields = [f"{ruled:x}", f"{scopes:x}"]
    kinds = ((mount.path, _BY_KIND.get(mount.kind)) for mount in view.mounts)
    for path, access in (*_ALWAYS, *((path, access) for path, access in kinds if access)):
        fields += [f"{access & ruled:x}", path]
    return os.fsencode("".join(f"{field}\0" for field in fields))
