"""Plays a record: gives its events to Sessions again, with the times of the record.

Knows no server, network or store.
"""

from __future__ import annotations

from collections import defaultdict
from time import monotonic
from typing import NoReturn

from pipeguard.detect.detector import DetectionSource, Engines, use_flows
from pipeguard.detect.flows.known_secrets import KnownSecrets
from pipeguard.detect.flows.ledger import Flows
from pipeguard.firewall.finding import NOTHING, TO_CLIENT, TO_SERVER, Action, Verdict
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.pins.store import PinsByKey
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol.framing import Oversized
from pipeguard.firewall.session.decisions import WaitEnded
from pipeguard.firewall.session.events import Frame, Learned, PolicyChanged
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.lifecycle import WaitingRoom
from pipeguard.firewall.session.session import Event, Session
from pipeguard.state.record.events import restore_event
from pipeguard.state.record.lines import Fields, read_frame
from pipeguard.state.record.values import decode

_DIRECTIONS = {"client": TO_SERVER, "server": TO_CLIENT}
_UNPLAYED = ("isolation.", "audit.")  # rules that find what is in no frame
_LOST = lazy_regex(rb'\{"id":[^{}]+\}')  # stands in for an answer that did not come (framing.Lost)
# Rules that stop what belongs to no open request. A frame that only they stop, and only now,
# belongs to a request that the record lacks, or that is not sent now.
_UNASKED = {
    *("protocol.unknown-answer", "protocol.unknown-progress", "protocol.unknown-request"),
    "protocol.unasked-answer",
}


class Player:
    """Plays one record.

    Args:
        engines: the compiled rules.
        policy: by which frames are judged; None for the recorded one.
    """

    def __init__(self, engines: Engines, policy: Policy | None = None) -> None:
        self._engines, self._policy = engines, policy
        self._key, self._own = b"", KnownSecrets()
        self._clock = 0.0  # at the record's start; that of the policy, which may end exceptions
        self._flows = Flows()
        self._guards: dict[str, Guard] = {}
        self._sessions: dict[tuple[str, int], Session] = {}  # by run and exchange
        # By the recorded events; what is not there stops nothing now.
        self._stopped = defaultdict[str, Verdict](lambda: NOTHING)

    def play(self, fields: Fields) -> Verdict | None:
        """Play a line of the record.

        Returns:
            The verdict. None if there is none, or it cannot be compared: the frame was withheld,
            belongs to a request that is not sent now, or was stopped by no text.

        Raises:
            Exception: of any kind, if the line has no meaning.
        """
        match fields:
            case {"from": _} | {"session": _, "of": _}:
                return self._play_event(fields)
            case {"what": "server"}:
                self._guards[fields["server"]] = self._make_guard(fields)
            case {"what": "session"}:
                self._open_session(fields)
            case {"key": key}:
                self._key, self._own = bytes.fromhex(key), KnownSecrets(fields["own"])
                self._clock = monotonic() if self._policy else fields["clock"]
        return None

    def _make_guard(self, fields: Fields) -> Guard:
        policy = self._policy or decode(Policy, fields["policy"], self._stopped.__getitem__)
        pins = decode(PinsByKey, fields["pins"], self._stopped.__getitem__)
        source = DetectionSource(lambda: self._engines, self._key, self._own)
        guard = Guard(fields["server"], source, policy, pins)
        guard.is_remote, guard.launched = fields["remote"], fields["launched"]
        guard.contents_key = self._key  # without it, no call waits
        use_flows(guard, self._flows)
        return guard

    def _open_session(self, fields: Fields) -> None:
        guard, run = self._guards[fields["server"]], fields["session"]
        if fields["asks"]:
            guard.questions = _ask_nobody
        room = WaitingRoom() if fields["waits"] else None
        self._sessions[run, 0] = Session(guard, run, fields["revision"], room)

    def _find_session(self, run: str, fields: Fields) -> Session:
        key = run, fields.get("exchange", 0)
        if key not in self._sessions:
            self._sessions[key] = self._sessions[run, 0].fork()
        return self._sessions[key]

    def _play_event(self, fields: Fields) -> Verdict | None:
        """Play a frame, or what else changes verdicts."""
        run, _, number = fields.get("event", "").rpartition(".")
        session = self._find_session(fields.get("session", run), fields)
        policy, rules = session.guard.policy, fields.get("rules", ())
        event = self._read_event(fields, policy)
        if event is None:
            return None
        if isinstance(event, Frame):
            session.state.set_next_number(event.direction, int(number[1:]))
        if exempt := fields.get("exempt"):
            session.guard.shared.policy = _open_exceptions(policy, {*exempt})
        verdict = session.take(event)
        if exempt:
            session.guard.shared.policy = policy
        if verdict.action >= Action.ASK:
            self._stopped[fields["event"]] = verdict
        if verdict.action is Action.ASK and fields["action"] != "ask":  # nobody decided
            session.take(WaitEnded(verdict, event.now, ""))
        stopping = {each.rule for each in verdict.findings if each.action >= Action.ASK}
        is_unasked = stopping and stopping <= _UNASKED.difference(rules)
        is_unplayed = any(rule.startswith(_UNPLAYED) for rule in rules)
        return None if is_unasked or is_unplayed else verdict

    def _read_event(self, fields: Fields, policy: Policy) -> Event | None:
        """The event of a line; None if it does not happen now."""
        now = self._clock + fields["t"]
        if "from" in fields:
            frame = read_frame(fields)
            if frame is None or _LOST.fullmatch(frame):
                return None
            if len(frame) > policy.limits.frame_bytes:
                frame = Oversized.of(frame, b"", len(frame))
            return Frame(_DIRECTIONS[fields["from"]], frame, now)
        event = restore_event(fields, now, self._stopped.__getitem__)
        match event:
            case PolicyChanged() if self._policy:
                return None
            case Learned() if not policy.follows_client:
                return None
        return None if getattr(event, "verdict", None) is NOTHING else event


def _ask_nobody() -> NoReturn:
    raise LookupError


def _open_exceptions(policy: Policy, contents: set[str]) -> Policy:
    """Let exceptions for some contents hold for any content.

    Their fingerprints have a key of the installation, so only the record knows that they fit.
    """
    layers = (
        layer._replace(
            exceptions=layer.exceptions
            + tuple(
                each._replace(where=each.where._replace(content=""))
                for each in layer.exceptions
                if contents.intersection(each.where.content.split())
            )
        )
        for layer in policy.layers
    )
    return policy._replace(layers=(*layers,))
