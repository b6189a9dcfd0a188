"""What this run's server offers, where that is not what the store holds.

Several runs of one server share the store, and under other settings its server may offer other
definitions under the same names. Each run goes by what its own server offers. The store has the
hold of one run at a time: a run stores its own once, and once more after a person has decided on
the other. Without that, two runs would replace each other's holds for as long as both of them last.
"""

from __future__ import annotations

from enum import Enum

from pipeguard.firewall.pins.fingerprint import Pin

PinKey = tuple[str, str]  # kind and name
REVIEW = "review"  # why a definition waits that nothing else is wrong with


class HoldState(Enum):
    """Where a definition is that this run holds."""

    STORED = "stored"
    DISPLACED = "displaced"  # the store has the hold of another run
    REJECTED = "rejected"  # a person discarded it, and the server still offers it


class Holds:
    """What was last listed in this run: held, or as it is approved. For the owner of its lock."""

    def __init__(self) -> None:
        self._states: dict[PinKey, HoldState] = {}
        self._as_approved: set[PinKey] = set()
        self._unstored: set[PinKey] = set()
        self._restored: set[PinKey] = set()  # stored again since what is trusted has last changed

    def hold(self, key: PinKey, *, is_same: bool) -> None:
        """The server offers a definition that waits: the same as before, or another."""
        self._as_approved.discard(key)
        if not is_same or key in self._unstored or key not in self._states:
            self._states[key] = HoldState.STORED
        if not is_same:
            self._restored.discard(key)
        self._unstored.discard(key)

    def approve(self, key: PinKey) -> bool:
        """The server offers what is trusted; True where the store has a hold of this run."""
        self._as_approved.add(key)
        self._unstored.discard(key)
        self._restored.discard(key)
        return self._states.pop(key, None) is HoldState.STORED

    def is_unstored(self, key: PinKey) -> bool:
        """True for a hold that the store lacks, though no person has decided on it."""
        return key in self._unstored

    def settle(self, key: PinKey, pin: Pin, stored: Pin | None) -> Pin | None:
        """What becomes of a pin of this run once the store has changed.

        Args:
            key: of the pin.
            pin: as it is here.
            stored: as it is in the store now; None where it is not there.

        Returns:
            The pin; None for the one in the store.
        """
        held, approved = pin.held_fingerprint, pin.approved_fingerprint
        now_approved = stored.approved_fingerprint if stored is not None else None
        if key in self._states and held is not None:
            if now_approved != held:
                return self._still_held(key, pin, stored)
            del self._states[key]
            self._as_approved.add(key)
            approved = held
        if key in self._as_approved and stored is not None and now_approved == approved:
            return without_hold(stored)
        self._as_approved.discard(key)
        return pin if _waits(pin, stored) else None

    def _still_held(self, key: PinKey, pin: Pin, stored: Pin | None) -> Pin:
        stored_hold = stored.held_fingerprint if stored is not None else None
        is_rebased = stored is not None and stored.approved_fingerprint != pin.approved_fingerprint
        if is_rebased:
            self._restored.discard(key)
        state = self._states[key]
        if stored_hold == pin.held_fingerprint:
            state = HoldState.STORED
        elif stored_hold is not None:
            is_final = state is HoldState.REJECTED and not is_rebased
            state = state if is_final else HoldState.DISPLACED
        elif key not in self._restored and (is_rebased or state is HoldState.DISPLACED):
            state = HoldState.STORED
            self._unstored.add(key)
            self._restored.add(key)
        else:
            state = HoldState.REJECTED
        self._states[key] = state
        if stored is None:
            return pin
        return stored._replace(
            held_definition=pin.held_definition,
            held_fingerprint=pin.held_fingerprint,
            reason=pin.reason,
            held_at=pin.held_at,
        )


def as_trusted(pin: Pin, *, needs_review: bool) -> Pin:
    """Read a stored pin as a run under review does, for which a first sight is no approval.

    Other runs trust the first sight, also if a run under review holds it.
    """
    if pin.is_reviewed or pin.approved_definition is None:
        return pin
    if not needs_review:
        is_held = pin.held_fingerprint == pin.approved_fingerprint
        return without_hold(pin) if is_held else pin
    return pin._replace(
        approved_definition=None,
        approved_fingerprint=None,
        held_definition=pin.held_definition or pin.approved_definition,
        held_fingerprint=pin.held_fingerprint or pin.approved_fingerprint,
        reason=pin.reason or REVIEW,
    )


def without_hold(pin: Pin) -> Pin:
    """The trusted version of a definition alone."""
    return pin._replace(held_definition=None, held_fingerprint=None, reason="", held_at="")


def _waits(pin: Pin, stored: Pin | None) -> bool:
    """True if a definition is held here and the store has neither that nor its approval."""
    if pin.held_definition is None or (stored is not None and stored.held_definition is not None):
        return False
    return stored is None or stored.approved_fingerprint != pin.held_fingerprint
