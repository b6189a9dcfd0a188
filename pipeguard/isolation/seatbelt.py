"""The same view as a profile of macOS's sandbox, for `sandbox-exec -p PROFILE COMMAND`.

Written out and tested as text; no engine uses it yet, since it was not run on macOS. Differences
that the system makes: files are refused where bubblewrap does not show them; processes are not
hidden, but can be neither signalled nor inspected; there is no home in memory, so a folder of ours
takes its place; the way out is a proxy at a port of loopback, since no network can be made.

Source: sandbox-exec(1), sandbox(7) and the profiles in /System/Library/Sandbox/Profiles, whose
language Apple documents nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeguard.isolation.profile import Profile

# What every program of macOS reads at its start.
SYSTEM = (
    *("/usr/lib", "/usr/share", "/usr/bin", "/bin", "/sbin", "/usr/sbin", "/System"),
    *(
        "/Library/Apple",
        "/opt/homebrew",
        "/usr/local",
        "/private/etc/ssl",
        "/private/var/db/timezone",
    ),
    *("/private/var/db/dyld", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty"),
)
_HEAD = """(version 1)
(deny default)
(allow process-fork)
(allow process-exec)
(allow signal (target same-sandbox))
(allow process-info* (target same-sandbox))
(allow sysctl-read)
(allow mach-lookup (global-name "com.apple.system.logger"))
(allow file-read-metadata)
(allow file-read-data (literal "/"))
"""


def seatbelt_profile(
    profile: Profile, needed: Iterable[str], hidden: Sequence[str], scratch: str, proxy_port: int
) -> str:
    """The profile's text.

    Args:
        profile: what is granted.
        needed: what the server's program reads.
        hidden: sensitive paths in what is granted, which nobody named.
        scratch: the folder that is its home and its temporary files.
        proxy_port: of the way out, on loopback.
    """
    lines = [_HEAD]
    lines += (_allow("file-read*", path) for path in (*SYSTEM, *needed, *profile.read))
    lines += (_allow("file-read* file-write*", path) for path in (*profile.write, scratch))
    # The last rule that fits decides, so what is hidden comes after what is given.
    lines += (f"(deny file* (subpath {_quoted(path)}))\n" for path in hidden)
    lines.append('(allow network-bind network-inbound (local ip "localhost:*"))\n')
    ports = [str(proxy_port), *map(str, profile.loopback)]
    lines += (f'(allow network-outbound (remote ip "localhost:{port}"))\n' for port in ports)
    return "".join(lines)


def _allow(operations: str, path: str) -> str:
    return f"(allow {operations} (subpath {_quoted(path)}))\n"


def _quoted(path: str) -> str:
    """A path as a string of the profile's language, which is Scheme's.

    Raises:
        ValueError: it has a character that ends a line or the text.
    """
    if any(ord(letter) < 0x20 for letter in path):
        raise ValueError(f"{path!r} cannot be written into a profile")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
