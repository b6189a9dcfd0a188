"""What is found in a message: matches of rules, leaks between tools, and foreign placeholders.

Each match becomes a finding with the action of the policy. Knows no conversation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.flows.leak import SECRET_OUT
from pipeguard.detect.flows.secret_egress import secret_egress
from pipeguard.detect.flows.text_values import addresses_of, short_values
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.detect.flows.vault import RESTORED
from pipeguard.detect.flows.way_out import WayOut, is_sent_by_line, way_out
from pipeguard.detect.rules.rule import Leaving, tells_private
from pipeguard.detect.scanning.scan_result import NOTHING_FOUND, Match, ScanResult
from pipeguard.detect.vault_placeholder import may_hold_placeholder
from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    Action,
    Confidence,
    Direction,
    Finding,
    MessageKind,
    Severity,
)
from pipeguard.firewall.policy import Mode
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.places import (
    LISTS,
    OPENINGS,
    Path,
    Surface,
    value_at,
)
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.contents import ContentMarks
from pipeguard.firewall.session.cuts import UNREAD, can_cut, cut_findings, forged_lines, with_words
from pipeguard.firewall.session.envelope import blocked
from pipeguard.firewall.session.kept_here import (
    is_at_home,
    is_kept_here,
    is_key_in_its_file,
    restored_file,
)
from pipeguard.firewall.session.scope import Scope
from pipeguard.firewall.session.secret_restore import (
    FOREIGN_NOTE,
    echoes,
    has_foreign_placeholder,
)

_SEVERE = Severity.HIGH, Confidence.HIGH
_UNREAD_NOTE = "more of the message could be an order to the model than is read of one message"
_MISPLACED_NOTE = (
    "a key that this server returned would be written into another folder, in clear; a file for"
    " keys, such as .env, may have it"
)
# What a tool does by which a secret could leave. Running something counts too, but not in an
# argument made for a credential: a command has to be told how to log in.
_PASSES_ON = Label.SENDS | Label.OUTSIDE | Label.KEEPS | Label.TAKES_IN


def message_findings(scope: Scope, direction: Direction, message: Message) -> list[Finding]:
    """The findings in a message, without those in definitions (firewall.session.definitions).

    Args:
        scope: where the message is.
        direction: which way it travels.
        message: the message.

    Raises:
        Refusal: it could not be judged.
    """
    vault = scope.guard.vault
    value: JsonValue = message.value
    if direction is Direction.TO_SERVER:
        findings = scan(scope, Surface.TO_SERVER, value)
        if may_hold_placeholder(message.frame):
            if has_foreign_placeholder(vault, value):
                findings.append(blocked(replies.FOREIGN_PLACEHOLDER, FOREIGN_NOTE))
            findings += _misplaced_keys(scope, value)
        return findings
    if message.kind is MessageKind.RESULT and scope.method in LISTS:
        value = _without(message.value, LISTS[scope.method][0], list)
    elif message.kind is MessageKind.RESULT and scope.method in OPENINGS:
        value = _without(message.value, "instructions", str)
    findings = scan(scope, Surface.TO_CLIENT, value)
    if b"pipeguard" in message.frame.lower() or b"\\u00" in message.frame:
        findings += forged_lines(scope, value)
    sent = vault.sent() if vault is not None else {}
    if sent and scope.guard.policy.mode is not Mode.OBSERVE:
        findings += echoes(sent, message.frame, scope, value)
    return findings


def scan(scope: Scope, surface: Surface, value: JsonValue) -> list[Finding]:
    """Run the rules of one surface over a value.

    Args:
        scope: where the value is.
        surface: what it is judged for.
        value: a whole message, or a part of one.

    Raises:
        Refusal: it could not be judged.
    """
    findings: list[Finding] = []
    for engine in scope.guard.scanners[surface]:
        try:
            result = engine.scan(value, scope.place, surface, scope.budgets, scope.call)
        except UnicodeEncodeError:
            why = "a string contains a lone surrogate, which is half a character"
            raise Refusal("protocol.lone-surrogate", why, codes.INVALID_REQUEST) from None
        if result != NOTHING_FOUND:
            findings += _findings_of(scope, value, result, surface)
    if not findings:
        return findings
    if name_is_secret(findings):
        findings = [finding._replace(tool=None) for finding in findings]
    return with_words(value, findings)


def leak_findings(scope: Scope, message: Message, values: frozenset[str]) -> list[Finding]:
    """The leaks through a request: results of other tools, and secrets of the server's.

    Args:
        scope: where the request is, with the tool that it calls.
        message: the request.
        values: of the call, from `call_values`.
    """
    findings = _secret_leaks(scope, message)
    if scope.tool is None:
        return findings
    flows, tool = scope.guard.flows, scope.guard.tool(scope.tool)
    leaks = flows.leaks(tool, _arguments(message), scope.now, values)
    if not leaks:
        return findings
    contents = ContentMarks(scope.guard.contents_key, message.value)
    for leak in leaks:
        content = contents.of_part(leak.rule, ("params", "arguments"))
        level = leak.severity, leak.confidence
        finding = scope.finding(leak.rule, "call.arguments", level, content)
        findings.append(finding._replace(note=finding.note or leak.note))
    return findings


def call_values(message: Message) -> frozenset[str]:
    """The short values among a call's arguments: ids, names, addresses."""
    return short_values(_arguments(message))


def name_is_secret(findings: Collection[Finding]) -> bool:
    """True if a tool's name contains a secret, so that no finding may repeat it."""
    return any(f.place == "call.name" and tells_private(f.rule) for f in findings)


def method_is_secret(findings: Collection[Finding]) -> bool:
    """True if a method contains a secret, so that nothing may repeat it."""
    return any(f.pointer == "/method" and tells_private(f.rule) for f in findings)


def _without(value: JsonObject, member: str, kind: type) -> JsonObject:
    """An answer without the member that firewall.session.definitions judges."""
    result = value.get("result")
    if not isinstance(result, dict) or not isinstance(result.get(member), kind):
        return value
    return {**value, "result": {key: item for key, item in result.items() if key != member}}


# --- leaks ----------------------------------------------------------------------------------


def _secret_leaks(scope: Scope, message: Message) -> list[Finding]:
    """A secret of the server's that would leave with a request in which secrets are put back."""
    vault, flows = scope.guard.vault, scope.guard.flows
    if vault is None or vault.is_empty:
        return []
    part, params = RESTORED.get(message.method or ""), message.value.get("params")
    if part is None or not isinstance(params, dict):
        return []
    labels = scope.guard.tool(scope.tool).labels if scope.tool is not None else Label.NONE
    given: JsonValue = {part: params.get(part)}
    confidence = secret_egress(vault, labels, given, flows.has_returned)
    if confidence is None:
        return []
    place = scope.place(("params", part))
    content = ContentMarks(scope.guard.contents_key, given).of_part(SECRET_OUT, ())
    finding = scope.finding(SECRET_OUT, place, (Severity.CRITICAL, confidence), content)
    note = "a secret that was taken out of what this server said would leave with this request"
    return [finding._replace(note=finding.note or note)]


def _misplaced_keys(scope: Scope, value: JsonValue) -> list[Finding]:
    """Keys of the server that a call would write to another folder than they were read from."""
    restored = restored_file(scope, value)
    if restored is None or restored == value:
        return []
    return [
        finding._replace(start=0, end=0, note=_MISPLACED_NOTE)
        for finding in scan(scope, Surface.TO_SERVER, restored)
        if finding.rule.startswith("secrets.") and finding.action is Action.BLOCK
    ]


def _arguments(message: Message) -> JsonValue:
    params = message.value.get("params")
    return params.get("arguments") if isinstance(params, dict) else None


# --- from matches to findings ---------------------------------------------------------------


def _findings_of(
    scope: Scope, value: JsonValue, result: ScanResult, surface: Surface
) -> list[Finding]:
    returning = [match for match in result.matches if _may_return(scope, value, match)]
    contents = ContentMarks(scope.guard.contents_key, value)
    findings: list[Finding] = []
    pieces: set[tuple[object, ...]] = set()
    for match in result.matches:
        if (rated := _confidence_by_way(scope, value, match)) is None:
            continue
        is_servers = any(_is_part_of(value, match, secret) for secret in returning)
        is_servers = is_servers or _is_host_of_secret(scope, value, match)
        is_servers = is_servers or is_key_in_its_file(scope, value, match)
        confidence = min(rated, Confidence.MEDIUM) if is_servers else rated
        if match.is_data and _is_written_by_others(scope):
            confidence = Confidence.HIGH
        if match.cuts:
            findings += _findings_of_order(
                scope, match._replace(confidence=confidence), surface, contents
            )
            continue
        content = contents.of_match(match)
        findings += (
            scope.finding_of(piece, confidence, surface, content)
            for piece in _pieces(match._replace(confidence=confidence), pieces)
        )
    for rule, is_over in (
        ("protocol.view-limit", result.has_undecoded),
        ("protocol.scan-limit", result.is_unfinished),
    ):
        if is_over:
            content = contents.of_part(rule, (scope.part,))
            findings.append(scope.finding(rule, scope.whole, _SEVERE, content))
    if result.unread_passages:
        findings += _unread(scope, result.unread_passages, surface, contents)
    return findings


def _confidence_by_way(scope: Scope, value: JsonValue, match: Match) -> Confidence | None:
    """How sure a match is, given where its string goes; None if it only counts elsewhere."""
    leaving = match.rule.leaving
    if not match.is_sample and leaving is Leaving.KEEP:
        return match.confidence
    way = WayOut.NOWHERE
    is_argument = scope.tool is not None and scope.place(match.path) == "call.arguments"
    if scope.tool is not None and is_argument:
        way = way_out(scope.guard.tool(scope.tool), value, match.path, (match.start, match.end))
    if leaving is Leaving.LOWER and not match.is_sample:
        is_kept = is_argument and way is WayOut.NOWHERE and is_kept_here(scope, value, match.path)
        is_kept = is_kept and not is_sent_by_line(value, match.path, (match.start, match.end))
        return min(match.confidence, Confidence.MEDIUM) if is_kept else match.confidence
    if way is WayOut.REQUESTED and leaving not in (Leaving.KEEP, Leaving.LOWER):
        return max(match.confidence, Confidence.HIGH)
    counts = way is not WayOut.NOWHERE
    if not counts and (match.is_sample or leaving is Leaving.ONLY):
        return None
    return match.confidence


def _is_written_by_others(scope: Scope) -> bool:
    """Whether anybody may have written a result: there, an order in the form of data is one."""
    if scope.tool is None:
        return False
    return bool(scope.guard.tool(scope.tool).labels & Label.TAKES_IN) or scope.call.fetches


def _findings_of_order(
    scope: Scope, match: Match, surface: Surface, contents: ContentMarks
) -> list[Finding]:
    """The finding of an order in plain sight; if it is cut out, one for each part that goes."""
    is_cuttable = can_cut(scope, surface, match.cuts)
    content = contents.of_match(match)
    finding = scope.finding_of(match, match.confidence, surface, content, is_cuttable=is_cuttable)
    if finding.action is not Action.CUT:
        return [finding]
    return cut_findings(scope, finding, match.cuts)


def _unread(
    scope: Scope, passages: list[Match], surface: Surface, contents: ContentMarks
) -> list[Finding]:
    """Findings about passages that were not read: cut out of a result, or the whole blocked."""
    spans = [span for passage in passages for span in passage.cuts]
    is_cuttable = all(passage.cuts for passage in passages) and can_cut(scope, surface, spans)
    content = contents.of_part(UNREAD, (scope.part,))
    whole = scope.finding(UNREAD, scope.whole, _SEVERE, content, is_cuttable=is_cuttable)
    whole = whole._replace(note=whole.note or _UNREAD_NOTE)
    if whole.action is not Action.CUT:
        return [whole]
    return cut_findings(scope, whole, spans)


def _pieces(match: Match, seen: set[tuple[object, ...]]) -> Iterator[Match]:
    """One match for each string that a secret is split over, so that each can be redacted.

    Args:
        match: a match, as sure as its finding.
        seen: the pieces of earlier matches, which are not repeated; extended.
    """
    if len(match.paths) < 2 or not match.rule.is_private:
        yield match
        return
    for path in match.paths:
        piece = (match.rule.id, path, match.start, match.end, match.confidence)
        if piece not in seen:
            seen.add(piece)
            yield match._replace(path=path, paths=())


def _may_return(scope: Scope, value: JsonValue, match: Match) -> bool:
    """Whether a secret goes to a tool that stores secrets, or back to the server it came from.

    A server knows already what it said. The secret may still not return if the called tool could
    pass it on, if there is an address beside it, or if it is encoded, which has a purpose. If
    nothing tells what the tool does, it returns only in an argument made for a credential.
    """
    if (
        not match.rule.is_private
        or scope.tool is None
        or scope.place(match.path) != "call.arguments"
    ):
        return False
    labels = scope.guard.tool(scope.tool).labels
    if labels & Label.HOLDS:
        return True
    vault = scope.guard.vault
    logs_in = is_credential_name(str(match.path[-1]))
    passes_on = _PASSES_ON if logs_in else _PASSES_ON | Label.RUNS
    stays = (labels or logs_in) and not labels & passes_on
    if vault is None or not stays or not match.exact or match.view != "text":
        return False
    text = _string_at(value, match.path)
    secret = text[match.start : match.end]
    if not vault.knows(secret) or addresses_of(value):
        return False
    return not labels & Label.WRITES or is_at_home(scope, value, secret)


def _string_at(value: JsonValue, path: Path) -> str:
    string = value_at(value, path)
    return string if isinstance(string, str) else ""


def _is_part_of(value: JsonValue, match: Match, secret: Match) -> bool:
    """Whether a match is within a secret, or is the host in one word with it."""
    if match is secret or match.path != secret.path or not match.exact:
        return match is secret
    first, last = min(match.start, secret.start), max(match.end, secret.end)
    if match.rule.is_private:
        return last - first == secret.end - secret.start
    together = _string_at(value, match.path)[first:last]
    return match.rule.id.startswith("ssrf.") and len(together.split()) == 1


def _is_host_of_secret(scope: Scope, value: JsonValue, match: Match) -> bool:
    """Whether a host belongs to a data source name that the server gave with a secret of its own.

    Not in a web address, where a placeholder would open what only the machine itself can reach.
    """
    vault = scope.guard.vault
    if vault is None or not match.rule.id.startswith("ssrf.") or not match.exact:
        return False
    text = _string_at(value, match.path)
    first = max(text.rfind(" ", 0, match.start), text.rfind("\n", 0, match.start)) + 1
    given = vault.restore(text[first:].split(maxsplit=1)[0])
    is_web = given.text.lower().startswith("http")
    return given.restored_count > 0 and not is_web and scope.guard.flows.has_returned(given.text)
