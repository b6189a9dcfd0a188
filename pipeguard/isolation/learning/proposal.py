"""The difference between what was learned of a server and its grants, which a person accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.egress.hosts import PRIVATE, HostRules, parse_authority, parse_host
from pipeguard.isolation.learning.reduction import Grant, Withheld, reduce
from pipeguard.isolation.profile import parse_path
from pipeguard.isolation.sensitive import contains_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.isolation.learning.observed import Observed
    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.view import SandboxUser

KINDS = ("read", "write", "hosts", "loopback")  # of which the policy has lists


class ProfileProposal(NamedTuple):
    """The change that is proposed for a server.

    Attributes:
        added: what it used and is not given.
        present: what it used and is given.
        unused: what it is given and did not use, in any run that learned.
        withheld: what it used and would not be given.
    """

    added: tuple[Grant, ...]
    present: tuple[Grant, ...]
    unused: tuple[Grant, ...]
    withheld: tuple[Withheld, ...]


def propose(observed: Observed, profile: Profile, host: SandboxUser) -> ProfileProposal:
    """Compare what was seen with what is given.

    Args:
        observed: what was seen.
        profile: what the server is given now.
        host: this machine and its user.
    """
    reduction = reduce(observed, host)
    is_given = [_is_given(grant, profile, host) for grant in reduction.grants]
    pairs = list(zip(reduction.grants, is_given, strict=True))
    return ProfileProposal(
        tuple(grant for grant, given in pairs if not given),
        tuple(grant for grant, given in pairs if given),
        tuple(_unused_grants(observed, profile)),
        tuple(each for each in reduction.withheld if not _is_named(each, profile)),
    )


def policy_entry(server: str, grants: tuple[Grant, ...]) -> dict[str, object]:
    """The entry of `isolate` in a policy that gives a server these.

    Args:
        server: the glob of its name.
        grants: what it is given.
    """
    entry: dict[str, object] = {"server": server}
    for kind in KINDS:
        values = [grant.value for grant in grants if grant.kind == kind]
        if values:
            entry[kind] = [int(each) for each in values] if kind == "loopback" else values
    if any(grant.kind == "keep_home" for grant in grants):
        entry["keep_home"] = True
    return entry


def _is_given(grant: Grant, profile: Profile, host: SandboxUser) -> bool:
    if grant.kind == "keep_home":
        return profile.keeps_home
    if grant.kind == "loopback":
        return int(grant.value) in profile.loopback
    if grant.kind == "hosts":
        rules = HostRules.parse(profile.hosts)
        name = grant.value.removesuffix(PRIVATE)
        target = parse_authority(name, 443)
        if name != grant.value and not rules.may_be_private(target.host, target.port):
            return False
        return target.port in rules.allowed_ports(target.host)
    path = parse_path(grant.value, "/", host.home)
    given = profile.write if grant.kind == "write" else (*profile.write, *profile.read)
    return any(contains_path(path, each) for each in given)


def _is_named(withheld: Withheld, profile: Profile) -> bool:
    """True if the user granted it all the same."""
    subject = withheld.subject
    if not subject.startswith("/"):
        return bool(subject and HostRules.parse(profile.hosts).allowed_ports(parse_host(subject)))
    return any(contains_path(subject, each) for each in (*profile.read, *profile.write))


def _unused_grants(observed: Observed, profile: Profile) -> Iterator[Grant]:
    why = "not used while it was learned"
    for kind, paths in (("read", profile.read), ("write", profile.write)):
        for path in paths:
            if not any(contains_path(each, path) for each in observed.files):
                yield Grant(kind, path, why)
    for entry in profile.hosts:
        rules = HostRules.parse([entry])
        if not any(
            ports & rules.allowed_ports(parse_host(host)) for host, ports in observed.hosts.items()
        ):
            yield Grant("hosts", entry, why)
    for port in profile.loopback:
        if port not in observed.loopback:
            yield Grant("loopback", str(port), why)
