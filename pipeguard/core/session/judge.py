"""From what a rule matched to what is done about it: scan, then policy. Knows no conversation."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from pipeguard.core.checks.credential_names import is_credential_name
from pipeguard.core.finding import Action, Confidence, Finding, Severity
from pipeguard.core.flows.ledger import SECRET_OUT
from pipeguard.core.flows.secret_egress import secret_egress
from pipeguard.core.flows.text_values import addresses_of, short_values
from pipeguard.core.flows.tool_labels import Label
from pipeguard.core.flows.vault import RESTORED
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.protocol.message import Message
from pipeguard.core.protocol.places import Path, Surface, place_of, pointer, value_at
from pipeguard.core.rules.policy import PolicyTarget
from pipeguard.core.rules.rule import tells_private
from pipeguard.core.scanning.origin import NOTHING, Match, Seen
from pipeguard.core.session.guard import Guard
from pipeguard.core.session.redact import UNREAD
from pipeguard.core.text.budgets import Budgets
from pipeguard.errors import Refusal


class Where(NamedTuple):
    """What is being judged, and where it stands.

    Attributes:
        guard: whose rules and policy hold.
        part: `params`, `result` or `error`.
        method: of the request, also for its answer.
        now: seconds on the session's clock.
        tool: the tool concerned, or None.
        prefix: the path of the value in its message.
        budgets: what judging the message may still cost; None where the value is all of it.
    """

    guard: Guard
    part: str
    method: str | None
    now: float
    tool: str | None = None
    prefix: Path = ()
    budgets: Budgets | None = None

    def place(self, path: Path) -> str:
        """The name of the place of a path below the value."""
        return place_of(self.part, self.method, self.prefix + path)

    def finding(self, rule: str, place: str, sure: tuple[Severity, Confidence]) -> Finding:
        """A finding with the action that the policy gives it."""
        severity, confidence = sure
        guard = self.guard
        subject = PolicyTarget(rule, severity, confidence, place, guard.name, self.tool)
        action = guard.policy.action(subject, self.now)
        return Finding(
            rule, place, severity=severity, confidence=confidence, action=action, tool=self.tool
        )


def scanned(where: Where, surface: Surface, value: JsonValue) -> list[Finding]:
    """Run one surface's rules over a value and decide about each match.

    Args:
        where: where it stands.
        surface: what it is judged for.
        value: a whole message, or a part of one.

    Raises:
        Refusal: it could not be judged.
    """
    findings: list[Finding] = []
    for engine in where.guard.scanners[surface]:
        try:
            seen = engine.scan(value, where.place, surface, where.budgets)
        except UnicodeEncodeError:
            raise Refusal(
                "protocol.lone-surrogate", "a string holds half a character", codes.INVALID_REQUEST
            ) from None
        if seen != NOTHING:
            findings += _told(where, value, seen, surface)
    if findings and stands_in_name(findings):
        findings = [finding._replace(tool=None) for finding in findings]
    return findings


def leaked(guard: Guard, message: Message, tool: str | None, now: float) -> list[Finding]:
    """What came back from another tool and goes out with this request, or a secret of the server's.

    Args:
        guard: of the server.
        message: the request.
        tool: that it calls; None where it calls none.
        now: seconds on the session's clock.
    """
    found = _taken_away(guard, message, tool, now)
    if tool is None:
        return found
    where = Where(guard, "params", message.method, now, tool)
    for leak in guard.flows.leaks(guard.tool(tool), _arguments(message)):
        finding = where.finding(leak.rule, "call.arguments", (leak.severity, leak.confidence))
        found.append(finding._replace(note=leak.note))
    return found


def _taken_away(guard: Guard, message: Message, tool: str | None, now: float) -> list[Finding]:
    """A secret of the server's that would leave it with a request in which secrets are put back."""
    part, params = RESTORED.get(message.method or ""), message.value.get("params")
    if part is None or guard.vault is None or guard.vault.is_empty or not isinstance(params, dict):
        return []
    does = guard.tool(tool).labels if tool is not None else Label.NONE
    given: JsonValue = {part: params.get(part)}
    sure = secret_egress(guard.vault, does, given, guard.flows.has_returned)
    if sure is None:
        return []
    where = Where(guard, "params", message.method, now, tool)
    finding = where.finding(SECRET_OUT, where.place(("params", part)), (Severity.CRITICAL, sure))
    note = "a secret that was taken out of what this server said would leave with this request"
    return [finding._replace(note=note)]


def about(message: Message) -> frozenset[str]:
    """The short values among a call's arguments."""
    return short_values(_arguments(message))


def _arguments(message: Message) -> JsonValue:
    params = message.value.get("params")
    return params.get("arguments") if isinstance(params, dict) else None


def stands_in_name(findings: Collection[Finding]) -> bool:
    """True where a tool's name is a secret: then it is told by its place alone."""
    return any(f.place == "call.name" and tells_private(f.rule) for f in findings)


def stands_in_method(findings: Collection[Finding]) -> bool:
    """True where a method is a secret: then it is not told."""
    return any(f.pointer == "/method" and tells_private(f.rule) for f in findings)


def _told(where: Where, value: JsonValue, seen: Seen, surface: Surface) -> list[Finding]:
    staying = [match for match in seen.matches if _stays(where, value, match)]
    findings: list[Finding] = []
    for match in seen.matches:
        is_own = any(_is_of(value, match, one) for one in staying)
        is_own = is_own or _was_given(where, value, match)
        pieces = _pieces(match)
        findings += (_decided(where, piece, surface, is_sure=not is_own) for piece in pieces)
    if seen.undecoded:
        findings.append(where.finding("protocol.view-limit", f"{where.part}.other", _WORSE))
    if seen.unfinished:
        findings.append(where.finding("protocol.scan-limit", f"{where.part}.other", _WORSE))
    if seen.unread:
        findings += _unread(where, seen.unread, surface)
    return findings


def _unread(where: Where, unread: list[Match], surface: Surface) -> list[Finding]:
    """What is done about passages that were not read: cut out of a result, or the whole stopped."""
    found = where.finding(UNREAD, f"{where.part}.other", _WORSE)._replace(note=_WHY_UNREAD)
    is_cut = surface is Surface.TO_CLIENT and found.action is Action.BLOCK
    if not is_cut or len(unread) > MAX_CUTS or not all(one.exact for one in unread):
        return [found]
    return [
        found._replace(
            place=where.place(one.path),
            pointer=pointer(where.prefix + one.path),
            start=one.start,
            end=one.end,
            view=one.view,
            action=Action.REDACT,
        )
        for one in unread
    ]


MAX_CUTS = 256  # passages that are cut out of a message; one with more is stopped
_WHY_UNREAD = "more stands in it that could be an order to the model than is read of one message"
_WORSE = Severity.HIGH, Confidence.HIGH


def _pieces(match: Match) -> Iterator[Match]:
    """One for each string that a secret is split over, so that each can be taken out."""
    if len(match.paths) < 2 or not match.rule.is_private:
        yield match
        return
    for path in match.paths:
        yield match._replace(path=path, paths=())


# What a tool does with which a secret may leave; one that runs something is told how to log in.
_PASSES_ON = Label.SENDS | Label.OUTSIDE | Label.KEEPS | Label.TAKES_IN


def _stays(where: Where, value: JsonValue, match: Match) -> bool:
    """Whether a secret goes to a tool that keeps secrets, or back to the server that said it.

    What a server has said it knows already. Not where the called tool may pass it on or an address
    stands beside, nor encoded, which has a purpose; where nothing tells what the tool does, only in
    an argument that is made for a credential.
    """
    if (
        not match.rule.is_private
        or where.tool is None
        or where.place(match.path) != "call.arguments"
    ):
        return False
    does = where.guard.tool(where.tool).labels
    if does & Label.HOLDS:
        return True
    vault = where.guard.vault
    logs_in = is_credential_name(str(match.path[-1]))
    passes_on = _PASSES_ON if logs_in else _PASSES_ON | Label.RUNS
    stays = (does or logs_in) and not does & passes_on
    if vault is None or not stays or not match.exact or match.view != "text":
        return False
    text = _string_at(value, match.path)
    if not vault.knows(text[match.start : match.end]):
        return False
    return not addresses_of(value)


def _string_at(value: JsonValue, path: Path) -> str:
    found = value_at(value, path)
    return found if isinstance(found, str) else ""


def _is_of(value: JsonValue, match: Match, secret: Match) -> bool:
    """Whether a match is that of a secret, or of the host that stands in one word with it."""
    if match is secret or match.path != secret.path or not match.exact:
        return match is secret
    first, last = min(match.start, secret.start), max(match.end, secret.end)
    if match.rule.is_private:
        return last - first == secret.end - secret.start
    together = _string_at(value, match.path)[first:last]
    return match.rule.id.startswith("ssrf.") and len(together.split()) == 1


def _was_given(where: Where, value: JsonValue, match: Match) -> bool:
    """Whether a host stands in what the server gave with a secret of its own: a data source's name.

    Not in a web address, where a placeholder would open what only the machine itself can reach.
    """
    vault = where.guard.vault
    if vault is None or not match.rule.id.startswith("ssrf.") or not match.exact:
        return False
    text = _string_at(value, match.path)
    first = max(text.rfind(" ", 0, match.start), text.rfind("\n", 0, match.start)) + 1
    given = vault.restore(text[first:].split(maxsplit=1)[0])
    is_web = given.text.lower().startswith("http")
    return given.known > 0 and not is_web and where.guard.flows.has_returned(given.text)


def _decided(where: Where, match: Match, surface: Surface, *, is_sure: bool = True) -> Finding:
    rule = match.rule
    place = where.place(match.path)
    sure = match.confidence if is_sure else min(match.confidence, Confidence.MEDIUM)
    subject = PolicyTarget(
        rule.id, rule.severity, sure, place, where.guard.name, where.tool, surface
    )
    return Finding(
        rule=rule.id,
        place=place,
        pointer=pointer(where.prefix + match.path),
        start=match.start,
        end=match.end if match.exact else match.start,
        view=match.view,
        severity=rule.severity,
        confidence=sure,
        action=where.guard.policy.action(subject, where.now),
        excerpt=match.excerpt,
        tool=where.tool,
    )
