"""Proposed servers: bounded, decided exactly as shown, recorded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.errors import InputError
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.proposals import (
    MOST_BYTES,
    MOST_REASON_CHARS,
    MOST_WAITING,
    Proposal,
    ProposalState,
    approve,
    proposals,
    propose,
    reject,
    remove,
    withdraw,
)
from pipeguard.state.store import Store

ENTRY = '{"command":"node"}'
BY = "kim at /dev/pts/3"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "pipeguard.db") as opened:
        yield opened


def only(store: Store) -> Proposal:
    (proposal,) = proposals(store)
    return proposal


def actions(store: Store) -> list[tuple[str, str]]:
    return [(row.entry.action, row.entry.client) for row in rows(store, AuditFilter())]


def test_a_proposal_waits_until_a_person_approves_exactly_that(store: Store) -> None:
    made = propose(store, "new", ENTRY, "ci", "because")
    assert only(store) == made
    assert made.state is ProposalState.WAITING
    assert not approve(store, made._replace(fingerprint="other"), BY)
    assert approve(store, made, BY)
    assert only(store).state is ProposalState.APPROVED
    assert only(store).decided
    assert not approve(store, made, BY), "it is decided"
    assert not reject(store, only(store), BY)
    assert actions(store) == [("propose", "ci"), ("approve", BY)]


def test_what_is_rejected_or_removed_is_gone(store: Store) -> None:
    assert reject(store, propose(store, "new", ENTRY, "ci", "because"), BY)
    assert approve(store, propose(store, "new", ENTRY, "ci", "because"), BY)
    approved = only(store)
    assert remove(store, approved, BY)
    assert not remove(store, approved, BY)
    assert proposals(store) == []
    assert [action for action, _ in actions(store)][-1] == "forget"


def test_an_agent_withdraws_only_its_own_and_a_person_decides_once_it_runs(store: Store) -> None:
    made = propose(store, "new", ENTRY, "ci", "because")
    with pytest.raises(InputError, match="you proposed no server"):
        withdraw(store, "new", "other")
    assert approve(store, made, BY)
    for _ in range(2):
        assert withdraw(store, "new", "ci") is ProposalState.LEAVING
    assert reject(store, only(store), BY)
    assert only(store).state is ProposalState.APPROVED
    withdraw(store, "new", "ci")
    assert approve(store, only(store), BY)
    assert proposals(store) == []
    assert withdraw(store, propose(store, "new", ENTRY, "ci", "because").name, "ci") is None


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
