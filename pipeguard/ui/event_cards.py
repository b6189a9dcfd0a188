"""Cards of events: a pending call, a stopped call or result, and a wall that a server met."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache, partial
from itertools import chain, pairwise
from pathlib import Path

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
from pipeguard.rulebook import packs, rule_texts
from pipeguard.state import audit, decisions, dismissals, exceptions, exemption
from pipeguard.state.exceptions import AuditedEvent
from pipeguard.state.grants import CallGrant, make_grant, refuse_call, revoke_grant
from pipeguard.state.pins import Store
from pipeguard.state.timestamps import today
from pipeguard.ui.card import HOLDS_UP, STOPPED, Card, CardAnswer, ChosenAnswer
from pipeguard.ui.decisions import DoneDecision, NothingDoneError, change_policy
from pipeguard.ui.evidence import Evidence
from pipeguard.ui.headings import TARGET_CHARS, make_heading
from pipeguard.ui.own_policy import read_own_policy
from pipeguard.ui.text import foreign, sentence, show_own, when
from pipeguard.unicode.display import visible

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
    if text := rule_texts.find_text(rule):
        return text.why
    pack, _, wanted = rule.partition(".")
    files = [each for each in packs.sources() if f"{Path(each.path).stem}-".startswith(f"{pack}-")]
    events = chain.from_iterable(yaml.parse(each.content, yaml.CSafeLoader) for each in files)
    name = ""
    for key, value in pairwise(each.value for each in events if isinstance(each, yaml.ScalarEvent)):
        name = value if key == "id" else name
        if (key, name) == ("why", wanted):
            return str(value)
    return ""


class EventProof:
    """The event of a card: its evidence, and its findings with why they matter.

    Args:
        alike: the event, and earlier ones like it: the newest first.

    Attributes:
        alike: all of them.
        event: the newest.
        stopped: the findings that stopped it.
        mark: of the call that a grant would allow; empty if none can.
        is_answer: True for a result or an error, False for a call.
        find_evidence: the evidence, with long values in full if `is_whole`.
    """

    def __init__(self, alike: Sequence[AuditedEvent]) -> None:
        self.alike = alike
        self.event = event = alike[0]
        self.stopped = exceptions.stopping(event)
        self.mark = exceptions.call_mark(event)
        self.is_answer = event.kind in {"result", "error"}
        self.find_evidence = cache(partial(Evidence, self.stopped, event.findings))

    def explain_findings(self) -> list[dict[str, str]]:
        """The findings that stopped the event, one for each rule, each with why it matters."""
        first = {each["rule"]: each for each in reversed(self.stopped)}
        found = [each for each in self.stopped if first[each["rule"]] is each]
        return [{**each, "why": find_why(each["rule"])} for each in found[:MOST_FINDINGS]]

    def offer_once(self, when: str, proof: Evidence) -> CardAnswer:
        """The answer that allows exactly this call.

        Args:
            when: says until when the call may pass.
            proof: as the card shows it.
        """
        left = f", and {proof.unseen:,} characters that you have not seen" if proof.unseen else ""
        if any(each["is_masked"] for each in proof.arguments):
            left += ": a secret itself is hidden"
        if not left and not proof.arguments:
            left = ", and any arguments that you have not seen"
        opens = f"this call with these arguments, once ({when}){left}"
        spares = "any other call, or the same one again"
        return CardAnswer("once", "Allow this call once", opens=opens, spares=spares)

    def make_grant(self, why: str) -> CallGrant:
        """The grant of exactly this call, for a reason."""
        return CallGrant(self.mark, self.event.name, self.event.server, self.event.tool, why)

    def allow_once(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Grant exactly this call."""
        grant = self.make_grant(chosen.why)
        expires = make_grant(store, grant, chosen.by)
        words = Markup("You allowed one call of {} until {}.")
        done = words.format(foreign(self.event.tool), when(expires))
        return DoneDecision(done, lambda store: revoke_grant(store, grant.mark))


class CallCard(Card):
    """A pending call."""

    kind = "event"
    group = HOLDS_UP

    def __init__(self, event: AuditedEvent, until: str) -> None:
        self.proof = proof = EventProof([event])
        heading = make_heading(event, exceptions.decisive(proof.stopped), is_waiting=True)
        super().__init__(event.name, event.server, heading, "A call waits", event.time)
        self.event, self.client, self.is_answer = event, event.client, proof.is_answer
        self.until = until
        self.bound = (proof.mark,)
        self.now = Markup("The agent waits until {}; no answer is a no.").format(when(until))
        name, value = self.evidence.telling
        if name:
            words = sentence("{tool}: {name} ", tool=foreign(event.tool), name=foreign(name))
            self.title = words + foreign(value, TARGET_CHARS)

    @property
    def evidence(self) -> Evidence:
        """The evidence about the call, as the card shows it."""
        return self.proof.find_evidence(is_whole=self.is_whole)

    @property
    def answers(self) -> tuple[CardAnswer, ...]:
        """Refuse it, or allow it once."""
        return _REFUSE, self.proof.offer_once("it continues at once", self.evidence)

    def carry_out(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Tell the waiting run."""
        if chosen.answer.name != "refuse":
            return self.proof.allow_once(store, chosen)
        refuse_call(store, self.proof.make_grant(chosen.why), chosen.by)
        words = Markup("You refused the call of {}: the model is told so within a second.")
        return DoneDecision(words.format(foreign(self.proof.event.tool)))


def describe_stop(event: AuditedEvent) -> str:
    """Describe what was done to a call or a result."""
    noun = "A result" if event.kind in {"result", "error"} else "A call"
    return f"{noun} was {'changed' if event.action in _CHANGED else 'stopped'}"


class StoppedCard(Card):
    """A stopped event with all its repetitions: it stays stopped, or passes.

    Args:
        proof: of the events.
        dismissal: the key that they share.
        state: how it stays, such as `blocked`.
        opening: lets it pass; None if the page cannot.
    """

    group = STOPPED
    kind = "event"

    def __init__(
        self,
        proof: EventProof,
        dismissal: str,
        state: str,
        opening: EventOpening | WallOpening | None = None,
    ) -> None:
        event, first = proof.event, proof.alike[-1]
        heading = make_heading(event, exceptions.decisive(proof.stopped))
        super().__init__(event.name, event.server, heading, describe_stop(event), first.time)
        self.event, self.client, self.is_answer = event, event.client, proof.is_answer
        self.last, self.count, self.dismissal = event.time, len(proof.alike), dismissal
        self.proof, self.state, self.opening = proof, state, opening
        self.now = f"It stays {state} if you do nothing."
        self.bound = (proof.mark, *(opening.bound if opening else ()))

    @property
    def evidence(self) -> Evidence:
        """The evidence about the event, as the card shows it."""
        return self.proof.find_evidence(is_whole=self.is_whole)

    @property
    def answers(self) -> tuple[CardAnswer, ...]:
        """Keep it stopped, let this or similar ones pass, or never see it again."""
        effect = "This card goes away. If it happens again, you get a new one."
        keep = CardAnswer("keep", f"Keep it {self.state}", effect, is_main=True)
        gone = "This card goes away for good, even if it happens again."
        never = CardAnswer(
            "never", f"Keep it {self.state}, show no card again", gone, is_small=True
        )
        openings = self.opening.list_answers(self.evidence) if self.opening else ()
        return keep, *openings, never

    def carry_out(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Let it pass, or dismiss the card; permanently for the answer `never`."""
        if self.opening is not None and chosen.answer.name not in {"keep", "never"}:
            return self.opening.carry_out(store, chosen)
        is_lasting = chosen.answer.name == "never"
        key = self.dismissal if is_lasting else self.id
        note = f"event {self.id}{', and what is like it' if is_lasting else ''}"
        entry = audit.decision_entry("dismiss", note=note, by=chosen.by)
        dismissals.dismiss(store, key, self.server, entry)
        words = Markup("You kept it {}. If it happens again, you get {} card.")
        cards = "no" if is_lasting else "a new"
        return DoneDecision(
            words.format(self.state, cards), lambda store: dismissals.recall(store, key)
        )


def make_event_card(dismissal: str, alike: Sequence[AuditedEvent]) -> StoppedCard:
    """Make the card of a stopped call or result; of similar events, the newest first."""
    proof = EventProof(alike)
    state = "hidden" if proof.event.action in _CHANGED else "blocked"
    card = StoppedCard(proof, dismissal, state, EventOpening(proof))
    if card.is_answer:
        what = "what was found" if state == "hidden" else "it"
        card.now = f"The model did not get {what}; it stays {state} if you do nothing."
    return card


class EventOpening:
    """Allows a stopped call once, or makes an exception for what stopped it.

    Attributes:
        bound: the texts to which such an answer applies, next to the call's mark.
    """

    def __init__(self, proof: EventProof) -> None:
        self._proof = proof
        try:
            exemptions = exceptions.narrowest(proof.event, None, "")
        except PipeGuardError:
            exemptions = ()
        self.bound = tuple(map(str, exemptions))

    def list_answers(self, evidence: Evidence) -> Iterator[CardAnswer]:
        """Allow the call once, or all that is like it until a day."""
        event = self._proof.event
        if self._proof.mark:
            until = "if the agent repeats it within 30 minutes of your answer"
            yield self._proof.offer_once(until, evidence)
        if not exceptions.is_decided_by_call(event) and self.bound:
            for scope in exceptions.scopes(event):
                opened = exemption.describe_opening(exceptions.narrowest(event, None, "", scope))
                what = "all calls of the" if scope.value == "tool" else "this"
                yield CardAnswer(
                    f"allow-{scope.value}",
                    f"Allow {what} {scope.value}",
                    opens="; ".join(opened),
                    spares="what any other rule finds",
                    is_small=scope is not exceptions.scopes(event)[0],
                    needs_reason=True,
                )

    def carry_out(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Allow the call once, or make an exception."""
        if chosen.answer.name == "once":
            return self._proof.allow_once(store, chosen)
        event, until = self._proof.event, chosen.until
        assert until is not None  # noqa: S101  the caller's
        scope = exemption.Breadth(chosen.answer.name.removeprefix("allow-"))
        path = own_policy_path()
        exemptions = exceptions.narrowest(event, until, chosen.why, scope)
        text = exceptions.allow(path, exemptions, today())
        if text is None:
            raise NothingDoneError(f"{path} allows this already.")
        entry = decisions.exception_entry(event, exemptions, f"{path} ({chosen.why})", chosen.by)
        done = Markup("You allowed it until {}: it is in {}.").format(until, path)
        return change_policy(path, text, event.server, entry, done)


def make_wall_card(dismissal: str, alike: Sequence[AuditedEvent]) -> StoppedCard | None:
    """Make the card of a wall of isolation that a server met; None if nothing is left to decide."""
    opening = WallOpening(alike[0])
    if opening.is_settled:
        return None
    card = StoppedCard(EventProof(alike), dismissal, "shut", opening)
    card.kind, card.what = "wall", "Blocked by isolation"
    return card


class WallOpening:
    """Grants a server what a wall of isolation kept from it.

    Attributes:
        bound: the text to which such an answer applies, next to the call's mark.
        given: the policy's grants to the server, each as `read ~/notes`.
        grant: the grant that would have let it through; None if none is offered.
        problem: why no grant is offered, or empty.
        is_settled: True if the policy now grants it, or it cannot be granted.
    """

    given: tuple[str, ...] = ()
    grant: WallGrant | None = None
    problem = ""

    def __init__(self, event: AuditedEvent) -> None:
        self._event = event
        try:
            entries = find_entries(event.server, read_own_policy().isolate)
            self.given = tuple(f"{key} {value}" for key, value in list_grants(entries))
            finding = event.findings[0]
            asked = finding.get("excerpt", "") if finding["rule"].startswith("egress.") else ""
            port = re.search(":([0-9]{1,5})$", asked)
            grant = find_wall_grant(event.findings, port and int(port[1]))
            plan = grant and plan_grant(event.server, grant, own_policy_path(), today())
            self.grant, self.is_settled = grant, bool(plan and not plan[1])
        except PipeGuardError as error:
            self.problem, self.is_settled = str(error), isinstance(error, NothingThereError)
        self.bound = (f"{self.grant.kind} {self.grant.value}" if self.grant else "",)

    def list_answers(self, _evidence: Evidence) -> Iterator[CardAnswer]:
        """Grant the server exactly that."""
        if (grant := self.grant) is not None:
            server = self._event.server
            may, start = self._show_grant(grant), visible(grant.describe_start(server))
            opens = Markup("{} may {}. {}").format(show_own(server), may, start)
            label, spares = _GRANTS[grant.kind]
            yield CardAnswer("give", label, opens=opens, spares=spares, subject=str(grant.value))

    def _show_grant(self, grant: WallGrant) -> Markup:
        """Draw what a grant opens: a sentence of ours, with the name that the server chose."""
        finding = self._event.findings[0]
        words = show_own(grant.opens, 300)
        name = finding.get("host", "") or finding.get("path", "")
        return words.replace(show_own(name, 300), foreign(name, 300), 1) if name else words

    def carry_out(self, _store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Add the grant to the policy."""
        event, grant = self._event, self.grant
        day, path = today(), own_policy_path()
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
        decision = decisions.wall_entry(event, grant.opens, path, chosen.by)
        return change_policy(path, text, event.server, decision, done)
