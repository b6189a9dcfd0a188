"""Two runs of one server share a store, and each goes by what its own server offers."""

from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.pins.store import Holds, without_hold

KEY = ("tool", "echo")
TRUSTED = Pin("tool", "echo", "A", "a", None, None, "")


def held(what: str, trusted: Pin = TRUSTED) -> Pin:
    return trusted._replace(
        held_definition=what.upper(), held_fingerprint=what, reason="drift: wording"
    )


def test_a_hold_of_this_run_outlives_that_of_another_in_the_store() -> None:
    holds = Holds()
    holds.hold(KEY, is_same=False)
    assert holds.settle(KEY, held("b"), held("c")) == held("b")
    assert not holds.is_unstored(KEY)


def test_a_hold_is_stored_again_once_where_a_person_decided_on_anothers() -> None:
    holds = Holds()
    holds.hold(KEY, is_same=False)
    assert holds.settle(KEY, held("b"), held("c")) == held("b")
    assert holds.settle(KEY, held("b"), TRUSTED) == held("b")
    assert holds.is_unstored(KEY)
    holds.hold(KEY, is_same=True)
    assert holds.settle(KEY, held("b"), TRUSTED) == held("b")
    assert not holds.is_unstored(KEY), "the person rejected this one"
    assert holds.is_rejected(KEY)


def test_what_was_rejected_waits_again_once_the_server_is_started_anew_and_offers_it() -> None:
    holds = Holds()
    holds.hold(KEY, is_same=False)
    assert holds.settle(KEY, held("b"), TRUSTED) == held("b")
    holds.start_anew()
    assert (holds.is_rejected(KEY), holds.is_unstored(KEY)) == (True, True)
    holds.settle(KEY, held("b"), TRUSTED)
    holds.hold(KEY, is_same=True)
    assert (holds.is_rejected(KEY), holds.is_unstored(KEY)) == (False, False)
    holds.settle(KEY, held("b"), held("b"))
    holds.settle(KEY, held("b"), TRUSTED)
    assert holds.is_rejected(KEY), "the person rejected it once more"


def test_what_a_person_approves_is_trusted() -> None:
    holds = Holds()
    holds.hold(KEY, is_same=False)
    approved = TRUSTED._replace(approved_definition="B", approved_fingerprint="b")
    assert holds.settle(KEY, held("b"), approved) == approved
    assert holds.settle(KEY, approved, held("c", approved)) == approved, "another run's is not ours"


def test_a_run_whose_server_offers_what_is_trusted_sees_no_hold() -> None:
    holds = Holds()
    assert not holds.approve(KEY)
    assert holds.settle(KEY, TRUSTED, held("c")) == TRUSTED
    assert without_hold(held("c")) == TRUSTED


def test_a_hold_of_this_run_in_the_store_goes_with_what_is_offered() -> None:
    holds = Holds()
    holds.hold(KEY, is_same=False)
    assert holds.approve(KEY)
    assert not holds.approve(KEY)


def test_what_a_run_has_not_listed_is_as_in_the_store() -> None:
    assert Holds().settle(KEY, TRUSTED, held("c")) is None
    assert Holds().settle(KEY, held("b"), None) == held("b")
