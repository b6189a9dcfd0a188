"""Judges the HTTP headers of a client by the rules for arguments."""

from collections.abc import Sequence

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    TO_SERVER,
    Action,
    Finding,
    Verdict,
    greatest,
    make_block,
)
from pipeguard.firewall.protocol.json_values import JsonObject, serialise
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session.guard import Context, Guard
from pipeguard.firewall.session.session import Session
from pipeguard.records import NamedTuple


class HeadersSent(NamedTuple):
    """A client sent a request with headers (RFC 9110, section 5).

    Attributes:
        headers: names and values, in UTF-8; a name may occur more than once.
        now: when.
        event_id: names the verdict.
    """

    headers: Sequence[tuple[str, str]]
    now: float
    event_id: str

    def happen(self, session: Session) -> Verdict:
        """Judge them, in any thread; the verdict names those to forward."""
        given: JsonObject = {}
        for name, value in self.headers:
            values = given.setdefault(name.lower(), [])
            if isinstance(values, list):
                values.append(value)
        passed = frozenset(given)
        with session.guard.spare() as guard:
            try:
                findings = _find(guard, given, self.now)
                if _stops(findings):
                    passed = _find_passed(guard, given, self.now)
            except Refusal as refusal:  # headers that cannot be judged are not forwarded
                findings = [make_block(refusal.rule, refusal.why)]
                passed = frozenset()
        return Verdict(
            TO_SERVER,
            serialise(given),
            greatest(findings),
            None,
            None,
            tuple(findings),
            self.event_id,
            headers=passed,
        )


def _find_passed(guard: Guard, given: JsonObject, now: float) -> frozenset[str]:
    """The names of the headers that pass; none if a match is split over several of them."""
    passed = {
        name: value for name, value in given.items() if not _stops(_find(guard, {name: value}, now))
    }
    is_split = len(passed) == len(given) or _stops(_find(guard, passed, now))
    return frozenset() if is_split else frozenset(passed)


def _find(guard: Guard, given: JsonObject, now: float) -> list[Finding]:
    context = Context(guard, "headers", None, now)
    return guard.detector.read(context, Surface.TO_SERVER, {"headers": given})


def _stops(findings: list[Finding]) -> bool:
    return greatest(findings) >= Action.REDACT
