"""Plays actions through a real Session, as `pipeguard wrap` makes it."""

from dataclasses import dataclass
from enum import IntEnum

from benchmarks.day.actions import Action, Expect, Step
from benchmarks.detection.json_tree import Object
from benchmarks.detection.play import Conversation, leaks, leaves_order, rules_of
from pipeguard.detect.detector import Engines
from pipeguard.firewall import finding
from pipeguard.firewall.finding import Verdict


class Outcome(IntEnum):
    """The outcomes of an action, mildest first."""

    PASSED = 0
    WARNED = 1
    REDACTED = 2  # its result arrives without some values
    CUT = 3  # its result arrives without some passages
    WITHHELD = 4  # its result does not arrive
    BLOCKED = 5  # the call does not reach the server


RESULT_OUTCOMES = {
    finding.Action.ALLOW: Outcome.PASSED,
    finding.Action.WARN: Outcome.WARNED,
    finding.Action.REDACT: Outcome.REDACTED,
    finding.Action.CUT: Outcome.CUT,
    finding.Action.BLOCK: Outcome.WITHHELD,
}
CALL_OUTCOMES = {**RESULT_OUTCOMES, finding.Action.BLOCK: Outcome.BLOCKED}


@dataclass(frozen=True, slots=True)
class Play:
    """The outcome of one action.

    Attributes:
        action: that was played.
        outcome: what happened to it.
        is_right: whether a person would have expected this.
        rules: that found something, the decisive ones first.
    """

    action: Action
    outcome: Outcome
    is_right: bool
    rules: tuple[str, ...]


def play(action: Action, rules: Engines) -> Play:
    """Play one action, in a conversation of its own."""
    is_attack = action.expect is Expect.STOP
    talk = Conversation(rules, honest=not is_attack)
    talk.open(dict(action.server["info"]), action.server["tools"])
    judged: list[tuple[Outcome, Verdict]] = []
    for step in action.steps:
        judged += _play_step(talk, step)
        if is_attack and step is not action.steps[-1]:
            judged.clear()  # what is redacted on the way to the attack does not stop it
    outcome, verdict = max(judged, key=lambda pair: pair[0])
    if is_attack and outcome in (Outcome.REDACTED, Outcome.CUT):
        left = leaks(verdict, action.secrets) or leaves_order(verdict, rules)
        outcome = Outcome.WARNED if left else outcome
    return Play(action, outcome, is_right(action.expect, outcome), rules_of(verdict))


def _play_step(talk: Conversation, step: Step) -> list[tuple[Outcome, Verdict]]:
    """The outcome of the call, and of its result if the call went on."""
    meant = talk.with_placeholders(step.arguments) if talk.honest else step.arguments
    params: Object = {"name": step.tool, "arguments": meant}
    call = talk.ask("tools/call", params).verdict
    outcomes = [(CALL_OUTCOMES[call.action], call)]
    if call.forward is not None and step.result is not None:
        answer = talk.answer({"content": [{"type": "text", "text": step.result}]}).verdict
        talk.note_placeholders(answer)
        outcomes.append((RESULT_OUTCOMES[answer.action], answer))
    return outcomes


def is_right(expect: Expect, outcome: Outcome) -> bool:
    """True if a person would have expected this."""
    if expect is Expect.STOP:
        return outcome >= Outcome.REDACTED
    return outcome < Outcome.CUT
