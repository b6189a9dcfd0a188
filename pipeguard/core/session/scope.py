"""What is being judged, and where it is: the policy's view of a value."""

from __future__ import annotations

from typing import NamedTuple

from pipeguard.core.finding import Action, Confidence, Finding, Severity
from pipeguard.core.protocol.places import HTTP_HEADER, Path, Surface, place_of, pointer
from pipeguard.core.rules.policy import PolicyTarget
from pipeguard.core.scanning.scan_result import Match
from pipeguard.core.session.guard import Guard
from pipeguard.core.text.budgets import Budgets

WOULD_CUT = "with `mode: enforce`, it would be cut out of the result"


class Scope(NamedTuple):
    """What is being judged, and where it is.

    Attributes:
        guard: whose rules and policy apply.
        part: `params`, `result`, `error` or `headers`.
        method: of the request, also for its answer.
        now: seconds on the session's clock.
        tool: the tool concerned, or None.
        prefix: the path of the value in its message.
        budgets: what judging the message may still cost; None if the value is all of it.
    """

    guard: Guard
    part: str
    method: str | None
    now: float
    tool: str | None = None
    prefix: Path = ()
    budgets: Budgets | None = None

    def place(self, path: Path) -> str:
        """The name of the place at a path below the value."""
        return place_of(self.part, self.method, self.prefix + path)

    @property
    def whole(self) -> str:
        """The name of the place of what is found in all of the value, and nowhere in it."""
        return HTTP_HEADER if self.part == "headers" else f"{self.part}.other"

    def finding(
        self,
        rule: str,
        place: str,
        level: tuple[Severity, Confidence],
        *,
        is_cuttable: bool = False,
    ) -> Finding:
        """A finding of a rule that is not in a pack, with the action of the policy."""
        severity, confidence = level
        guard = self.guard
        target = PolicyTarget(
            rule, severity, confidence, place, guard.name, self.tool, is_cuttable=is_cuttable
        )
        action = guard.policy.action(target, self.now)
        return Finding(
            rule, place, severity=severity, confidence=confidence, action=action, tool=self.tool
        )

    def exempts(self, rule: str, place: str) -> bool:
        """True where a person's exception lets through what is otherwise always taken out."""
        level = Severity.HIGH, Confidence.HIGH
        target = PolicyTarget(rule, *level, place, self.guard.name, self.tool, Surface.TO_CLIENT)
        return self.guard.policy.exempts(target, self.now)

    def finding_of(
        self,
        match: Match,
        confidence: Confidence,
        surface: Surface,
        *,
        is_cuttable: bool = False,
    ) -> Finding:
        """The finding of a rule's match, with the action of the policy."""
        rule, guard = match.rule, self.guard
        place = self.place(match.path)
        target = PolicyTarget(
            *(rule.id, rule.severity, confidence, place, guard.name, self.tool, surface),
            is_cuttable=is_cuttable,
        )
        action = guard.policy.action(target, self.now)
        would_be = guard.policy.enforced(target, self.now) if is_cuttable else action
        return Finding(
            rule=rule.id,
            place=place,
            pointer=pointer(self.prefix + match.path),
            start=match.start,
            end=match.end if match.exact else match.start,
            view=match.view,
            severity=rule.severity,
            confidence=confidence,
            action=action,
            excerpt=match.excerpt,
            note=WOULD_CUT if would_be is Action.CUT > action else "",
            tool=self.tool,
        )
