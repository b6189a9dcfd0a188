"""The system's restrictions on user namespaces, which bubblewrap needs."""

from __future__ import annotations

import os

_SYSCTLS = {"/proc/sys/user/max_user_namespaces": "0"}
_SYSCTLS_OF_USERS = {  # that do not hold for root
    "/proc/sys/kernel/unprivileged_userns_clone": "0",  # Debian's patch of the kernel
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",  # Ubuntu since 23.10
}


def forbidden() -> str | None:
    """Name what forbids user namespaces to us; None where nothing is known to."""
    if (setting := forbidding_setting()) is not None:
        return setting
    if any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv"))):
        return "this is a container, whose settings forbid namespaces inside it"
    return None


def forbidding_setting() -> str | None:
    """The setting that forbids them to us; None where none does that is known."""
    settings = _SYSCTLS if os.geteuid() == 0 else _SYSCTLS | _SYSCTLS_OF_USERS
    for path, value in settings.items():
        if _content(path) == value:
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            return f"{name} = {value} forbids user namespaces"
    return None


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
