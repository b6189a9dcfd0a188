"""Each host, port and path reaches what its table says."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.addresses import Reach, find_reach
from pipeguard.detect.checks.url_hosts import hosts as hosts_of
from pipeguard.detect.checks.url_hosts import reaches
from pipeguard.detect.words import hosts
from tests.detect.words.proof import NO_WORD, Proof, matching, tables, unproved
from tests.each import each
from tests.fuzz.budget import tried


def is_at(reach: Reach, host: str) -> bool:
    return [found.reach for found in hosts_of(host)] == [reach]


EXPRESSIONS: Mapping[str, Proof] = {
    "METADATA_NAMES": lambda name: is_at(Reach.METADATA, name),
    "LOCAL_NAMES": lambda name: is_at(Reach.LOOPBACK, name),
    "LOCAL_PUBLIC_NAMES": lambda name: is_at(Reach.LOOPBACK, f"x.{name}"),
    "INSIDE_NAMES": lambda name: is_at(Reach.PRIVATE, f"db.{name}"),
    "INSIDE_HOSTS": lambda name: is_at(Reach.PRIVATE, name),
    "WILDCARD_DNS": lambda name: is_at(Reach.PRIVATE, f"10-0-0-1.{name}"),
    "PATHS": lambda path: reaches(f"10.0.0.1/{path}/".encode(), "exposed"),
    "LOCAL_PATHS": lambda path: reaches(f"localhost/{path}".encode(), "exposed"),
}
PROOFS: Mapping[str, Proof] = {
    "METADATA_ADDRESSES": lambda address: (
        address != NO_WORD and find_reach(address) is Reach.METADATA
    ),
    "METADATA_ADDRESSES_V6": lambda address: (
        address != NO_WORD and find_reach(address) is Reach.METADATA
    ),
    "PORTS": lambda port: reaches(f"10.0.0.1:{port}/".encode(), "exposed"),
    "LOCAL_PORTS": lambda port: reaches(f"localhost:{port}/".encode(), "exposed"),
}


@each("table", list(PROOFS))
def test_each_entry_of_a_table_is_proved(table: str) -> None:
    assert unproved(getattr(hosts, table), PROOFS[table]) == []


@each("table", list(EXPRESSIONS))
@tried(10)
@given(st.data())
def test_what_an_entry_matches_is_proved(table: str, data: st.DataObject) -> None:
    for entry in getattr(hosts, table):
        text = data.draw(matching(entry))
        assert EXPRESSIONS[table](text), text
    assert not EXPRESSIONS[table](NO_WORD)


def test_every_table_has_a_proof() -> None:
    assert tables(hosts) == PROOFS.keys() | EXPRESSIONS.keys()
