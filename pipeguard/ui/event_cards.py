"""Cards of events: a pending call, a stopped call or result, and a wall that a server met."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from markupsafe import Markup

from pipeguard.config.isolate_entry import with_entry
from pipeguard.config.isolate_key import find_entries
from pipeguard.config.user_policy import own_policy_path
from pipeguard.errors import PipeGuardError
from pipeguard.isolation import (
    NothingThereError,
    WallGrant,
    find_wall_grant,
    list_grants,
    plan_grant,
)
from pipeguard.rulebook.packs import sources
from pipeguard.rulebook.rule_texts import find_text
from pipeguard.state import exceptions
from pipeguard.state.audit import decision_entry
from pipeguard.state.decisions import exception_entry, wall_entry
from pipeguard.state.dismissals import dismiss, recall
from pipeguard.state.exemption import Breadth, describe_opening
from pipeguard.state.grants import CallGrant, make_grant, refuse_call, revoke_grant
from pipeguard.state.timestamps import now_text
from pipeguard.ui.card import HOLDS_UP, STOPPED, Card, CardAnswer
from pipeguard.ui.decisions import DoneDecision, NothingDoneError, change_policy
from pipeguard.ui.evidence import Evidence
from pipeguard.ui.headings import TARGET_CHARS, make_heading
from pipeguard.ui.own_policy import read_own_policy, today
from pipeguard.ui.text import foreign, sentence, show_own, when
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.state.exceptions import AuditedEvent
    from pipeguard.state.store import Store
    from pipeguard.ui.card import ChosenAnswer

MOST_FINDINGS = 5  # of an event, that a card shows
_CHANGED = frozenset({"redact", "cut"})  # actions after which the rest is forwarded
# The label of the button, by the key of the policy that it adds to; and another such thing.
_GRANTS = {
    "hosts": ("Let it reach", "another host or port, or another server"),
    "loopback": ("Let it reach port", "another port, or another server"),
    "read": ("Let it read", "a change, another file, or another server"),
    "write": ("Let it change", "another file, or another server"),
}
_REFUSED = "The model is told no, and continues without it. Nothing leaves."
_REFUSE = CardAnswer("refuse", "Refuse", _REFUSED, is_main=True)


@lru_cache(maxsize=256)
def find_why(rule: str) -> str:
    """Explain why a rule matters, without loading the rules: the page would keep megabytes."""
    if text := find_text(rule):
        return text.why
    pack, _, wanted = rule.partition(".")
    files = [each for each in sources() if f"{Path(each.path).stem}-".startswith(f"{pack}-")]
    events = chain.from_iterable(yaml.parse(each.content, yaml.CSafeLoader) for each in files)
    name = ""
    for key, value in pairwise(each.value for each in events if isinstance(each, yaml.ScalarEvent)):
        name = value if key == "id" else name
        if (key, name) == ("why", wanted):
            return str(value)
    return ""


class CallCard(Card):
    """A pending call."""

    kind = "event"
    group = HOLDS_UP
    event: AuditedEvent

    def __init__(self, event: AuditedEvent, until: str = "", what: str = "A call waits") -> None:
        rule = exceptions.decisive(exceptions.stopping(event))
        heading = make_heading(event, rule, is_waiting=bool(until))
        super().__init__(event.name, event.server, heading, what, event.time)
        self.event, self.until, self.client = event, until, event.client
        self.bound = (exceptions.call_mark(event),)
        self._evidence = dict[bool, Evidence]()
        self.is_answer = event.kind in {"result", "error"}
        self.now = Markup("The agent waits until {}; no answer is a no.").format(when(until))
        if until and (name := self.evidence.telling[0]):
            words = sentence("{tool}: {name} ", tool=foreign(event.tool), name=foreign(name))
            self.title = words + foreign(self.evidence.telling[1], TARGET_CHARS)

    @property
    def answers(self) -> tuple[CardAnswer, ...]:
        """Refuse it, or allow it once."""
        return _REFUSE, self._allow_once("it continues at once")

    @property
    def evidence(self) -> Evidence:
        """The evidence about the event."""
        if not (found := self._evidence.get(self.is_whole)):
            stopped = exceptions.stopping(self.event)
            found = Evidence(stopped, self.event.findings, is_whole=self.is_whole)
            self._evidence[self.is_whole] = found
        return found

    def _allow_once(self, when: str) -> CardAnswer:
        proof = self.evidence
        left = f", and {proof.unseen:,} characters that you have not seen" if proof.unseen else ""
        left += ": a secret itself is hidden" * any(each["is_masked"] for each in proof.arguments)
        left = left if left or proof.arguments else ", and any arguments that you have not seen"
        opens = f"this call with these arguments, once ({when}){left}"
        spares = "any other call, or the same one again"
        return CardAnswer("once", "Allow this call once", opens=opens, spares=spares)

    def carry_out(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Tell the waiting run."""
        event, mark = self.event, exceptions.call_mark(self.event)
        grant = CallGrant(mark, event.name, event.server, event.tool, chosen.why)
        if chosen.answer.name == "refuse":
            refuse_call(store, grant, chosen.by)
            words = Markup("You refused the call of {}: the model is told so within a second.")
            return DoneDecision(words.format(foreign(event.tool)))
        expires = make_grant(store, grant, chosen.by)
        words = Markup("You allowed one call of {} until {}.")
        done = words.format(foreign(event.tool), when(expires))
        return DoneDecision(done, lambda store: revoke_grant(store, grant.mark))

    def findings(self) -> list[dict[str, str]]:
        """The findings that stopped the event, one for each rule, each with why it matters."""
        shown = {each["rule"]: each for each in reversed(exceptions.stopping(self.event))}
        found = [each for each in exceptions.stopping(self.event) if shown[each["rule"]] is each]
        return [{**each, "why": find_why(each["rule"])} for each in found[:MOST_FINDINGS]]


def describe_stop(event: AuditedEvent) -> str:
    """Describe what was done to a call or a result."""
    noun = "A result" if event.kind in {"result", "error"} else "A call"
    return f"{noun} was {'changed' if event.action in _CHANGED else 'stopped'}"


class StoppedCard(CallCard):
    """A stopped call or result, with all its repetitions.

    Args:
        dismissal: the key that all similar events share.
        alike: the events, the newest first.
    """

    group = STOPPED

    def __init__(self, dismissal: str, alike: list[AuditedEvent]) -> None:
        super().__init__(alike[0], what=describe_stop(alike[0]))
        self.since, self.last, self.count = alike[-1].time, alike[0].time, len(alike)
        self.dismissal = dismissal
        self.shut = "hidden" if self.event.action in _CHANGED else "blocked"
        what = "what was found" if self.shut == "hidden" else "it"
        got = f"The model did not get {what}; it" if self.is_answer else "It"
        self.now = f"{got} stays {self.shut} if you do nothing."
        self.bound = (*self.bound, *map(str, self._find_exemptions()))

    @property
    def answers(self) -> tuple[CardAnswer, ...]:
        """Keep it stopped, let this or similar ones pass, or never see it again."""
        effect = "This card goes away. If it happens again, you get a new one."
        keep = CardAnswer("keep", f"Keep it {self.shut}", effect, is_main=True)
        gone = "This card goes away for good, even if it happens again."
        never = CardAnswer("never", f"Keep it {self.shut}, show no card again", gone, is_small=True)
        return keep, *self._openings(), never

    def carry_out(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Dismiss it, allow the call once, or make an exception."""
        match chosen.answer.name:
            case "once":
                return super().carry_out(store, chosen)
            case "keep" | "never":
                return self._dismiss(store, chosen)
        return self._except(chosen)

    def _find_exemptions(self) -> tuple[object, ...]:
        try:
            return exceptions.narrowest(self.event, None, "")
        except PipeGuardError:
            return ()

    def _openings(self) -> Iterator[CardAnswer]:
        """The answers that let something pass."""
        event = self.event
        if exceptions.call_mark(event):
            yield self._allow_once("if the agent repeats it within 30 minutes of your answer")
        if not exceptions.is_decided_by_call(event) and self._find_exemptions():
            for scope in exceptions.scopes(event):
                opened = describe_opening(exceptions.narrowest(event, None, "", scope))
                what = "all calls of the" if scope.value == "tool" else "this"
                yield CardAnswer(
                    f"allow-{scope.value}",
                    f"Allow {what} {scope.value}",
                    opens="; ".join(opened),
                    spares="what any other rule finds",
                    is_small=scope is not exceptions.scopes(event)[0],
                    needs_reason=True,
                )

    def _dismiss(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        is_lasting = chosen.answer.name == "never"
        key = self.dismissal if is_lasting else self.id
        note = f"event {self.event.name}{', and what is like it' if is_lasting else ''}"
        entry = decision_entry("dismiss", now_text(), note=note, by=chosen.by)
        dismiss(store, key, self.server, entry)
        words = Markup("You kept it {}. If it happens again, you get {} card.")
        cards = "no" if is_lasting else "a new"
        return DoneDecision(words.format(self.shut, cards), lambda store: recall(store, key))

    def _except(self, chosen: ChosenAnswer) -> DoneDecision:
        event, until = self.event, chosen.until
        assert until is not None  # noqa: S101  the caller's
        scope = Breadth(chosen.answer.name.removeprefix("allow-"))
        path = own_policy_path()
        exemptions = exceptions.narrowest(event, until, chosen.why, scope)
        text = exceptions.allow(path, exemptions, today())
        if text is None:
            raise NothingDoneError(f"{path} allows this already.")
        entry = exception_entry(event, exemptions, f"{path} ({chosen.why})", chosen.by)
        done = Markup("You allowed it until {}: it is in {}.").format(until, path)
        return change_policy(path, text, event.server, entry, done)


class WallCard(StoppedCard):
    """A wall of isolation that a server met.

    Args:
        dismissal: the key that all similar events share.
        alike: the events, the newest first.

    Attributes:
        given: the policy's grants to the server, each as `read ~/notes`.
        grant: the grant that would have let it through; None if none is offered.
        problem: why no grant is offered, or empty.
        is_settled: True if the policy now grants it, or it cannot be granted.
    """

    kind = "wall"
    given: tuple[str, ...] = ()
    grant: WallGrant | None = None
    problem = ""

    def __init__(self, dismissal: str, alike: list[AuditedEvent]) -> None:
        super().__init__(dismissal, alike)
        self.what, self.shut = "Blocked by isolation", "shut"
        self.now = "It stays shut if you do nothing."
        try:
            entries = find_entries(self.server, read_own_policy().isolate)
            self.given = tuple(f"{key} {value}" for key, value in list_grants(entries))
            finding = self.event.findings[0]
            asked = finding.get("excerpt", "") if finding["rule"].startswith("egress.") else ""
            port = re.search(":([0-9]{1,5})$", asked)
            grant = find_wall_grant(self.event.findings, port and int(port[1]))
            plan = grant and plan_grant(self.server, grant, own_policy_path(), today())
            self.grant, self.is_settled = grant, bool(plan and not plan[1])
        except PipeGuardError as error:
            self.problem, self.is_settled = str(error), isinstance(error, NothingThereError)
        shown = f"{self.grant.kind} {self.grant.value}" if self.grant else ""
        self.bound = (exceptions.call_mark(self.event), shown)

    def carry_out(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Dismiss it, or grant the server exactly that."""
        return (
            self._give(chosen.by) if chosen.answer.name == "give" else self._dismiss(store, chosen)
        )

    def _openings(self) -> Iterator[CardAnswer]:
        if (grant := self.grant) is not None:
            may, start = self._show_grant(grant), visible(grant.describe_start(self.server))
            opens = Markup("{} may {}. {}").format(show_own(self.server), may, start)
            label, spares = _GRANTS[grant.kind]
            yield CardAnswer("give", label, opens=opens, spares=spares, subject=str(grant.value))

    def _show_grant(self, grant: WallGrant) -> Markup:
        """Draw what a grant opens: a sentence of ours, with the name that the server chose."""
        finding, words = self.event.findings[0], show_own(grant.opens, 300)
        name = finding.get("host", "") or finding.get("path", "")
        return words.replace(show_own(name, 300), foreign(name, 300), 1) if name else words

    def _give(self, by: str) -> DoneDecision:
        event, grant, day, path = self.event, self.grant, today(), own_policy_path()
        assert grant is not None  # noqa: S101  without one there is no such answer
        entry, is_new = plan_grant(event.server, grant, path, day)
        if not is_new:
            raise NothingDoneError(f"{path} grants it already.")
        text = with_entry(path, entry, day)
        done = Markup("{} may now {}: it is in {}. {}").format(
            show_own(event.server),
            self._show_grant(grant),
            path,
            grant.describe_start(event.server),
        )
        decision = wall_entry(event, grant.opens, path, by)
        return change_policy(path, text, event.server, decision, done)
