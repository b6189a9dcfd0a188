"""What a server is given that runs isolated, written down for `pipeguard isolate show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.isolation.extent import POLICY, GivenFrom, extent_of, with_ways_out
from pipeguard.isolation.last_starts import save, save_change
from pipeguard.runtime.isolation_sources import granted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.sandbox import Sandbox


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
