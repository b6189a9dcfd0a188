"""Proposed servers: bounded, decided exactly as shown, recorded."""

import pytest

from pipeguard.errors import InputError
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.pins import Store
from pipeguard.state.proposals import (
    MOST_BYTES,
    MOST_REASON_CHARS,
    MOST_WAITING,
    Proposal,
    approve,
    proposals,
    propose,
    reject,
    withdraw,
)

ENTRY = '{"command":"node"}'
BY = "kim at /dev/pts/3"


def only(store: Store) -> Proposal:
    (proposal,) = proposals(store)
    return proposal


def actions(store: Store) -> list[tuple[str, str]]:
    return [(row.entry.action, row.entry.client) for row in rows(store, AuditFilter())]


def test_a_proposal_waits_until_a_person_approves_exactly_that(store: Store) -> None:
    made = propose(store, "new", ENTRY, "ci", "because")
    assert only(store) == made
    assert made.waits
    assert not approve(store, made._replace(fingerprint="other"), BY)
    assert approve(store, made, BY)
    assert not only(store).waits
    assert not approve(store, made, BY), "it is decided"
    assert not reject(store, made, BY), "it is not what was shown"
    assert actions(store) == [("propose", "ci"), ("approve", BY)]


def test_what_is_rejected_is_gone_also_once_approved(store: Store) -> None:
    assert reject(store, propose(store, "new", ENTRY, "ci", "because"), BY)
    assert approve(store, propose(store, "new", ENTRY, "ci", "because"), BY)
    approved = only(store)
    assert reject(store, approved, BY)
    assert not reject(store, approved, BY)
    assert proposals(store) == []


def test_an_agent_withdraws_only_its_own_and_nothing_that_is_approved(store: Store) -> None:
    made = propose(store, "new", ENTRY, "ci", "because")
    with pytest.raises(InputError, match="that you proposed waits"):
        withdraw(store, "new", "other")
    assert approve(store, made, BY)
    with pytest.raises(InputError, match="that you proposed waits"):
        withdraw(store, "new", "ci")
    propose(store, "b", ENTRY, "ci", "because")
    withdraw(store, "b", "ci")
    assert [each.name for each in proposals(store)] == ["new"]


def test_there_is_an_end_to_their_number_and_size(store: Store) -> None:
    for number in range(MOST_WAITING):
        propose(store, f"new{number}", ENTRY, "", "because")
    with pytest.raises(InputError, match="wait for the user already"):
        propose(store, "more", ENTRY, "", "because")
    with pytest.raises(InputError, match="proposed already"):
        propose(store, "NEW1", ENTRY, "", "because")
    with pytest.raises(InputError, match="bytes"):
        propose(store, "more", "x" * (MOST_BYTES + 1), "", "because")
    with pytest.raises(InputError, match="characters"):
        propose(store, "more", ENTRY, "", "x" * (MOST_REASON_CHARS + 1))
