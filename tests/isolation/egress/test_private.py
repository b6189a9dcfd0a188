"""Names that may lead into a private network, because a person allowed the name."""

from __future__ import annotations

import socket

import pytest

from pipeguard.isolation.egress.addresses import usable_addresses
from pipeguard.isolation.egress.hosts import HostError, HostRules
from pipeguard.isolation.egress.judge import EgressReason, Wall
from pipeguard.isolation.egress.state import EgressLimits
from pipeguard.isolation.learning.observed import Observed
from pipeguard.isolation.learning.reduction import propose
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import this_host
from pipeguard.isolation.servers.starter import _IsolatedConnections
from pipeguard.isolation.walls.witness import describe_walls
from tests.each import each
from tests.isolation.egress.sandbox import running

RULES = HostRules.parse(
    ["git.corp.example=private", "*.corp.example:8443=private", "packages.example"]
)


def test_none_leads_to_an_address_of_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 9))
        except OSError:
            pytest.skip("this machine has no network")
        own = probe.getsockname()[0]
    assert usable_addresses([own], 443, RULES, "git.corp.example") == []


@each("entry", ["10.0.0.5=private", "[fd00::1]:22=private", "=private", "localhost=private"])
def test_what_is_no_name_is_not_private(entry: str) -> None:
    with pytest.raises(HostError):
        HostRules.parse([entry])


def test_a_connection_goes_there_if_a_rule_says_so() -> None:
    limits = EgressLimits(connect_seconds=0.3)
    reasons = []
    for entry in ("git.corp.example", "git.corp.example=private"):
        rules = HostRules.parse([entry])
        with running(rules, lambda _: ["10.255.255.1"], limits) as (port, records, _):
            with socket.create_connection(("127.0.0.1", port), 60) as client:
                client.sendall(b"CONNECT git.corp.example:443 HTTP/1.1\r\n\r\n")
                client.recv(1000)
            (record,) = records.wait(1)
        reasons.append(record.reason)
    # With the rule it was tried: who is there is the network's matter.
    assert reasons == [EgressReason.ADDRESS, None]


def test_an_agent_is_told_that_the_name_leads_to_a_local_address() -> None:
    connections = _IsolatedConnections()
    walls: list[Wall] = []
    connections.attach(lambda _: "RUN1.x1", walls.append)
    rules = HostRules.parse(["git.corp.example"])
    with running(rules, lambda _: ["127.0.0.1"]) as (port, records, _):
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"CONNECT git.corp.example:443 HTTP/1.1\r\n\r\n")
            assert b"403" in client.recv(1000)
        connections.report(*records.wait(1))
    note = 'the local address of the host "git.corp.example" (event RUN1.x1)'
    assert note in describe_walls(walls)


def test_what_was_learned_has_it_and_what_was_given_so_is_given() -> None:
    observed = Observed(hosts=["packages.example=private"])
    for hosts, is_given in ((("packages.example",), False), (("packages.example=private",), True)):
        proposal = propose(observed, Profile(hosts=hosts), this_host())
        (grant,) = proposal.present if is_given else proposal.added
        assert (grant.kind, grant.value) == ("hosts", "packages.example=private")
