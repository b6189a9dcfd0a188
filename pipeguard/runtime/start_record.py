"""What a server is given that runs isolated, for `pipeguard isolate show`, and what it made."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pipeguard.core.finding import Action, Finding, Severity
from pipeguard.isolation.extent import POLICY, GivenFrom, extent_of, with_ways_out
from pipeguard.isolation.last_starts import save, save_change
from pipeguard.isolation.run_later import find_made
from pipeguard.isolation.walls.wall import WRITE
from pipeguard.isolation.walls.witness import PLACE, shortened
from pipeguard.runtime.isolation_sources import granted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.sandbox import Sandbox
    from pipeguard.isolation.view import FileView

MOST_MADE = 100  # files and folders of one run that are told


class StartRecord:
    """The record of one start, which follows what is given and taken while the server runs.

    Args:
        name: of the server.
        sandbox: that it runs in.
        sources: what gives it what, the one that counts most first.

    Raises:
        StateError: it cannot be written.
    """

    def __init__(self, name: str, sandbox: Sandbox, sources: Sequence[GivenFrom]) -> None:
        self._name = name
        self._sources = sources
        extent = extent_of(
            sandbox.engine, sandbox.seen, sources, sandbox.package, sandbox.kept_home
        )
        self._start = save(name, extent)

    def update(self, profile: Profile, entries: Iterable[IsolateEntry]) -> None:
        """Write the hosts and ports that it is given now; nothing else applies while it runs.

        Args:
            profile: what it is given now.
            entries: of the policy, for this server.

        Raises:
            PipeGuardError: it cannot be written, or the policy gives what cannot be given.
        """
        policy = GivenFrom(POLICY, granted(entries))
        sources = [policy if each.why == POLICY else each for each in self._sources]
        extent = with_ways_out(self._start.extent, profile, sources)
        if extent != self._start.extent:
            self._start = save_change(self._name, self._start, extent)


def note_made(view: FileView, since: float, notice: Callable[[Finding], None]) -> None:
    """Record what is run later and was made in folders that a server may change.

    Args:
        view: of the server, which has ended.
        since: when it started, in seconds since 1970.
        notice: records a finding.
    """
    given = [mount.path for mount in view.mounts if mount.is_changed]
    mounted = [mount.path for mount in view.mounts]
    for path in islice(find_made(given, mounted, view.home, since), MOST_MADE):
        note = "made while the server ran, which may change the folder; your programs run it later"
        notice(
            Finding(
                WRITE,
                PLACE,
                severity=Severity.MEDIUM,
                action=Action.WARN,
                excerpt=shortened(path),
                note=note,
                path=path,
            )
        )
