"""Real commands on a machine that an administrator set up, without touching this one.

`administer(folder, words)` makes a command line of `words` for which `folder` is the system's
folder, `/etc/pipeguard`. It runs in a mount namespace of its own, whose `/etc` has links to
everything in the machine's, so it sees the changes that a test makes in `folder`, and nothing is
left behind. Give it to `subprocess.run` or `tests.forking.start` with a launcher of your own; a
test that uses it is marked `needs("bubblewrap")`, as that looks for namespaces.

The user is root in it. Somebody else's view: `as_nobody=True`, for a real root only; such a user
reads neither HOME nor pytest's folders unless the test opens them.

In process, `monkeypatch.setattr("pipeguard.config.enrolment.system_folder", lambda: str(folder))`.
"""

import os
from collections.abc import Sequence
from pathlib import Path

_SCRIPT = """
set -e
mkdir -p "$1.etc"
mount --rbind /etc "$1.etc"
mount -t tmpfs tmpfs /etc
for entry in "$1.etc"/*; do ln -s "$entry" /etc/; done
rm -f /etc/pipeguard
mkdir /etc/pipeguard
mount --bind "$1" /etc/pipeguard
shift
exec "$@"
"""
_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")


def administer(folder: Path, words: Sequence[str], *, as_nobody: bool = False) -> list[str]:
    """Make a command line for which `folder` is the system's folder."""
    own = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    inner = (*_NOBODY, *words) if as_nobody else words
    return ["unshare", *own, "--mount", "sh", "-c", _SCRIPT, "sh", str(folder), *inner]
