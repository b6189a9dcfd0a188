"""What is being judged, and where it is: the policy's view of a value."""

from __future__ import annotations

from typing import NamedTuple

from pipeguard.detect.commands.call_names import NO_CALL
from pipeguard.detect.scanning.scan_result import Match
from pipeguard.detect.text.budgets import Budgets
from pipeguard.firewall.finding import Action, Confidence, Finding, Severity
from pipeguard.firewall.policy import Mode, PolicyTarget
from pipeguard.firewall.protocol.pending import Targets
from pipeguard.firewall.protocol.places import HTTP_HEADER, Path, Surface, place_of, pointer
from pipeguard.firewall.session.guard import Guard

WOULD_CUT = "with `mode: enforce`, it would be cut out of the result"
EXEMPT = "an exception of your policy lets it pass"


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
        call: of which the value is a part or the result.
        exempt: rules and places that an exception lets pass, in a message that is judged again
            once something else was taken out of it.
    """

    guard: Guard
    part: str
    method: str | None
    now: float
    tool: str | None = None
    prefix: Path = ()
    budgets: Budgets | None = None
    call: Targets = NO_CALL
    exempt: frozenset[tuple[str, str]] = frozenset()

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
        content: str = "",
        *,
        is_cuttable: bool = False,
    ) -> Finding:
        """A finding of a rule that is not in a pack, with the action of the policy."""
        target = self._target(rule, level, place, content, Surface.TO_SERVER)
        bare = Finding(rule, place, severity=level[0], confidence=level[1], tool=self.tool)
        return self._decided(bare, target._replace(is_cuttable=is_cuttable))

    def exempts(self, rule: str, place: str) -> bool:
        """True where a person's exception lets through what is otherwise always taken out."""
        level = Severity.HIGH, Confidence.HIGH
        target = self._target(rule, level, place, "", Surface.TO_CLIENT)
        return self.guard.policy.exempts(target, self.now)

    def finding_of(
        self,
        match: Match,
        confidence: Confidence,
        surface: Surface,
        content: str = "",
        *,
        is_cuttable: bool = False,
    ) -> Finding:
        """The finding of a rule's match, with the action of the policy."""
        rule, place = match.rule, self.place(match.path)
        target = self._target(rule.id, (rule.severity, confidence), place, content, surface)
        bare = Finding(
            rule=rule.id,
            place=place,
            pointer=pointer(self.prefix + match.path),
            start=match.start,
            end=match.end if match.exact else match.start,
            view=match.view,
            severity=rule.severity,
            confidence=confidence,
            excerpt=match.excerpt,
            tool=self.tool,
        )
        return self._decided(bare, target._replace(is_cuttable=is_cuttable))

    def _target(
        self,
        rule: str,
        level: tuple[Severity, Confidence],
        place: str,
        content: str,
        surface: Surface,
    ) -> PolicyTarget:
        return PolicyTarget(
            *(rule, *level, place, self.guard.name, self.tool, surface),
            content=content,
            paths=self.call.names[0],
            hosts=self.call.names[1],
        )

    def _decided(self, bare: Finding, target: PolicyTarget) -> Finding:
        """A finding with the action of the policy, and what an exception for it could name."""
        policy, note = self.guard.policy, ""
        action = policy.action(target, self.now)
        if (bare.rule, bare.pointer) in self.exempt or policy.exempts(target, self.now):
            action, note = Action.ALLOW, EXEMPT
        elif target.is_cuttable and policy.enforced(target, self.now) is Action.CUT > action:
            note = WOULD_CUT
        enforced = policy.enforced(target, self.now) if policy.mode is Mode.OBSERVE else action
        paths, hosts = self.call.names
        return bare._replace(
            action=action,
            note=note,
            content=target.content,
            path=paths[0] if len(paths) == 1 and not hosts else "",
            host=hosts[0] if len(hosts) == 1 and not paths else "",
            would=enforced if enforced > action and note != EXEMPT else None,
        )
