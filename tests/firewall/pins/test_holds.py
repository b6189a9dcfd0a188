"""Two runs of one server share a store, and each follows its own server's offer."""

import pytest

from pipeguard.firewall.pins.fingerprint import REJECTED, WITHDRAWN, Pin
from pipeguard.firewall.pins.store import OTHERWISE, REVIEW, Pins, as_trusted

KEY = ("tool", "echo")
TRUSTED = Pin("tool", "echo", "A", "a", None, None, "")
UNTRUSTED = TRUSTED._replace(approved_definition=None, approved_fingerprint=None)


def held(what: str, trusted: Pin = TRUSTED) -> Pin:
    return trusted._replace(
        held_definition=what.upper(), held_fingerprint=what, reason="drift: wording"
    )


def store(pins: Pins, *stored: Pin) -> Pin | None:
    """Return the pin that a run has after the store changed to these, one after another."""
    for each in stored:
        pins.replace({KEY: each})
    return pins.of(*KEY)


def holding() -> Pins:
    pins = Pins({KEY: TRUSTED})
    pins.learn(held("b"))
    return pins


def test_what_was_forgotten_waits_again_once_the_server_is_started_anew_and_offers_it() -> None:
    pins = holding()
    assert store(pins, TRUSTED) == held("b")
    pins.start_anew()
    assert (pins.is_rejected(*KEY), pins.is_unstored(*KEY)) == (True, True)
    store(pins, TRUSTED)
    pins.learn(held("b"))
    assert (pins.is_rejected(*KEY), pins.is_unstored(*KEY)) == (False, False)
    store(pins, held("b"), TRUSTED)
    assert pins.is_rejected(*KEY), "the person forgot it once more"


def test_a_first_sight_under_review_waits_unless_a_later_version_does() -> None:
    changed = held("b")._replace(is_reviewed=False)
    first = TRUSTED._replace(is_reviewed=False)
    assert as_trusted(changed, needs_review=True) == held("b", UNTRUSTED)
    assert as_trusted(first, needs_review=True) == held("a", UNTRUSTED)._replace(reason=REVIEW)
    assert as_trusted(changed, needs_review=False) == changed
    assert as_trusted(held("a", first), needs_review=False) == first
    assert as_trusted(held("b"), needs_review=True) == held("b"), "a person approved A"
    rejected = held("b")._replace(reason=REJECTED)
    assert (TRUSTED.waits, held("b").waits, rejected.waits) == (False, True, False)


@pytest.mark.parametrize(("version", "is_forgotten"), [("b", True), ("d", False)])
def test_a_displaced_hold_is_stored_again_once_a_version(version: str, is_forgotten: bool) -> None:
    pins = holding()
    store(pins, held("c"), TRUSTED)
    assert pins.is_unstored(*KEY)
    pins.learn(held(version))
    store(pins, held("c"), TRUSTED)
    assert (pins.is_rejected(*KEY), pins.is_unstored(*KEY)) == (is_forgotten, not is_forgotten)


def test_a_hold_that_another_run_withdrew_is_stored_again() -> None:
    pins = holding()
    store(pins, TRUSTED._replace(reason=WITHDRAWN))
    assert (pins.is_rejected(*KEY), pins.is_unstored(*KEY)) == (False, True)


def test_a_version_approved_in_the_meantime_stays() -> None:
    first = TRUSTED._replace(approved_definition="C", approved_fingerprint="c")
    versions = (first, held("c", UNTRUSTED)._replace(reason=""))
    learned = {Pins({KEY: TRUSTED}).learn(each) for each in versions}
    assert learned == {held("c")._replace(reason=OTHERWISE)}


def test_what_a_run_has_not_listed_is_as_in_the_store() -> None:
    assert store(Pins({KEY: TRUSTED}), held("c")) == held("c")
    pins = Pins({KEY: held("b")})
    pins.replace({})
    assert pins.of(*KEY) == held("b")
