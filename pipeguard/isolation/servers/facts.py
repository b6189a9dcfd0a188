"""Facts about a server that its entries do not have: what was learned of it, and its package."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.learning.observed import load
from pipeguard.isolation.learning.reduction import policy_entry, propose
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import this_host
from pipeguard.isolation.servers.sources import combine_grants
from pipeguard.isolation.shipped import find_profile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.isolation.learning.observed import Observed
    from pipeguard.isolation.learning.reduction import ProfileProposal
    from pipeguard.isolation.shipped import ShippedProfile


class ServerFacts(NamedTuple):
    """A server that learned, or whose package PipeGuard knows.

    Attributes:
        observed: what was learned, or None.
        proposal: that beside what it is given, or None.
        shipped: the profile of its package, or None.
    """

    observed: Observed | None
    proposal: ProfileProposal | None
    shipped: ShippedProfile | None

    @classmethod
    def find(
        cls, name: str, entries: Iterable[IsolateEntry], packages: Iterable[str]
    ) -> ServerFacts:
        """Find what is known of a server.

        Args:
            name: of the server, or of a package.
            entries: of the policy that are for it.
            packages: that clients start it as, as `REGISTRY:NAME`.

        Raises:
            PipeGuardError: what was learned cannot be read.
        """
        observed = load(name)
        keys = [observed.package] if observed is not None else [f"npm:{name}", f"pypi:{name}"]
        shipped = next(filter(None, map(find_profile, [*keys, *packages])), None)
        if observed is None:
            return cls(None, None, shipped)
        given = shipped.profile if shipped is not None else Profile()
        given = given.with_more(combine_grants(entries))
        return cls(observed, propose(observed, given, this_host()), shipped)

    def make_entry(self, server: str) -> dict[str, object]:
        """The entry of the policy that gives it all that is proposed.

        Args:
            server: the glob of its name.
        """
        return policy_entry(server, self.proposal.added if self.proposal is not None else ())
