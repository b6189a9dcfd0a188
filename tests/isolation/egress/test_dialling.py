"""The choice among several addresses, and the fate of the others."""

import asyncio
from ipaddress import ip_address

import pytest

from pipeguard.isolation.egress.hosts import Address
from pipeguard.isolation.egress.routing import connect_first
from pipeguard.isolation.egress.state import ReadBuffer
from pipeguard.isolation.egress.tunnel import TunnelEnd

V4, OTHER_V4 = ip_address("8.8.8.8"), ip_address("8.8.4.4")
V6, OTHER_V6 = ip_address("2606:4700::1"), ip_address("2606:4700::2")


class End(TunnelEnd):
    """One side of a tunnel that knows whether it was given up."""

    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


class Hosts:
    """Addresses that answer, refuse, or never answer; in which order they were tried."""

    def __init__(self, *answering: Address, refusing: tuple[Address, ...] = ()) -> None:
        self.answering, self.refusing = answering, refusing
        self.tried: list[Address] = []
        self.ends: dict[Address, End] = {}
        self.given_up: list[Address] = []

    async def dial(self, address: Address) -> TunnelEnd:
        self.tried.append(address)
        if address in self.refusing:
            raise ConnectionRefusedError(111, str(address))
        if address not in self.answering:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.given_up.append(address)
                raise
        self.ends[address] = End(ReadBuffer())
        return self.ends[address]


def connect(hosts: Hosts, *addresses: Address) -> tuple[Address, TunnelEnd]:
    async def run() -> tuple[Address, TunnelEnd]:
        result = await connect_first(addresses, hosts.dial)
        await asyncio.sleep(0)
        return result

    return asyncio.run(run())


def test_the_families_take_turns() -> None:
    hosts = Hosts(refusing=(V4, OTHER_V4, V6, OTHER_V6))
    with pytest.raises(ConnectionRefusedError):
        connect(hosts, V6, OTHER_V6, V4, OTHER_V4)
    assert hosts.tried == [V6, V4, OTHER_V6, OTHER_V4]


def test_an_address_that_does_not_answer_is_given_up_for_one_that_does() -> None:
    hosts = Hosts(V4)
    assert connect(hosts, V6, V4) == (V4, hosts.ends[V4])
    assert hosts.given_up == [V6]
    assert not hosts.ends[V4].is_aborted


def test_of_two_that_answer_together_one_is_closed() -> None:
    hosts = Hosts(V4, V6)
    gate: list[asyncio.Future[None]] = []

    async def dial(address: Address) -> TunnelEnd:
        if address == V6:
            gate.append(asyncio.get_running_loop().create_future())
            await gate[0]
        else:
            gate[0].set_result(None)
            await asyncio.sleep(0)
        return await hosts.dial(address)

    async def run() -> Address:
        address, _ = await connect_first([V6, V4], dial)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return address

    address = asyncio.run(run())
    assert not hosts.ends.pop(address).is_aborted
    assert all(end.is_aborted for end in hosts.ends.values())
    assert len(hosts.ends) == 1
