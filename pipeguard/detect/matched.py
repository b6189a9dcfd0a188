"""From the matches of rules in a value to findings, with the action of the policy."""

from collections.abc import Iterator

from pipeguard.detect.content_marks import ContentMarks
from pipeguard.detect.counting import IN_MESSAGE, LocatedMatch, pass_with_words
from pipeguard.detect.cuts import cut_findings, find_obstacle, with_words
from pipeguard.detect.flows import secret_egress, way_out
from pipeguard.detect.flows.leak import SECRET_OUT, Leak
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.scanning.rating import describe_steps, rerate
from pipeguard.detect.scanning.scan_budget import Dropped, Match, ScanResult
from pipeguard.detect.shown_call import show_source
from pipeguard.firewall.finding import Action, Confidence, Finding, Severity, name_is_secret
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.places import ARGUMENTS, Surface
from pipeguard.firewall.session.guard import Context
from pipeguard.firewall.session.rewrite import UNREAD

_SEVERE = Severity.HIGH, Confidence.HIGH
_UNREAD_NOTE = "more of the message could be an order to the model than is read of one message"


def list_findings(
    knowledge: Knowledge,
    context: Context,
    surface: Surface,
    value: JsonValue,
    results: list[ScanResult],
) -> list[Finding]:
    """The findings in a value with matches.

    Args:
        knowledge: of the server.
        context: where the value is.
        surface: the surface that it is judged as.
        value: a whole message, or a part of one.
        results: of the surface's engines that found anything.
    """
    findings = []
    for result in results:
        findings += _to_findings(knowledge, context, value, result, surface)
    dropped = results[0].dropped
    if dropped is not None:
        if context.original is None:  # not what a cut or redaction left
            # A match that another reading keeps, or drops too, is no news.
            seen = {(finding.rule, finding.excerpt) for finding in findings}
            others = {(match.rule.id, match.excerpt): match for match in reversed(dropped.matches)}
            dropped.findings += [
                _make_finding(context, match, dropped)._replace(action=Action.ALLOW)
                for key, match in others.items()
                if key not in seen
            ]
        dropped.matches.clear()
    way_out.forget_texts()
    secret_egress.forget_addresses()
    if name_is_secret(findings):
        findings = [finding._replace(tool=None) for finding in findings]
    return with_words(value, findings)


def list_leaks(
    knowledge: Knowledge, context: Context, message: Message, leaks: list[Leak]
) -> list[Finding]:
    """The findings for data that would leave with a request.

    Args:
        knowledge: of the server.
        context: where the request is.
        message: the request.
        leaks: in it.
    """
    findings = []
    contents = ContentMarks(context.guard.contents_key, message.value)
    for leak in leaks:
        found = context.finding(
            leak.rule,
            "call.arguments",
            (leak.severity, leak.confidence),
            content=contents.of_part(leak.rule, ARGUMENTS),
            note=leak.note,
        )
        if leak.passage is not None or found.action >= Action.ASK or found.would is not None:
            found = found._replace(**show_source(knowledge, [leak, *leaks], message, context.now))
        findings.append(found)
    return findings


def _to_findings(
    knowledge: Knowledge, context: Context, value: JsonValue, result: ScanResult, surface: Surface
) -> list[Finding]:
    cases = [LocatedMatch(knowledge, context, value, match) for match in result.matches]
    returning = [case.match for case in cases if case.returns()]
    contents = ContentMarks(context.guard.contents_key, value, context.original)
    found: list[tuple[Match, Finding]] = []
    seen: set[tuple[object, ...]] = set()
    for case in cases:
        case.returning, case.others = returning, result.matches
        if (match := rerate(case.match, case, IN_MESSAGE, result.dropped)) is None:
            continue
        if case.one_time_token:
            knowledge.vault.placeholder(case.match.rule.id, case.one_time_token)  # remembers it
        content = contents.of_match(match)
        is_private = match.rule.is_private
        obstacle = None if is_private else find_obstacle(context, surface, match.cuts)
        for piece in [match] if match.cuts else _pieces(match, seen):
            bare = _make_finding(context, piece, result.dropped)._replace(content=content)
            finding = context.decide(bare, surface, obstacle=obstacle)
            is_cut = obstacle == "" and finding.action is Action.CUT
            parts = cut_findings(context, finding, match.cuts) if is_cut else [finding]
            found += ((piece, part) for part in parts)
    findings = pass_with_words(found)
    for rule, is_over in (
        ("protocol.view-limit", result.has_undecoded),
        ("protocol.scan-limit", result.is_unfinished),
    ):
        if is_over:
            content = contents.of_part(rule, (context.part,))
            findings.append(context.finding(rule, context.whole, _SEVERE, content=content))
    if any(map(LocatedMatch.is_typed, cases)):
        mark = contents.of_part(SECRET_OUT, ARGUMENTS)
        findings.append(context.finding(SECRET_OUT, "call.arguments", _SEVERE, content=mark))
    if result.unread_passages:
        findings += _unread(context, result.unread_passages, surface, contents)
    return findings


def _make_finding(context: Context, match: Match, dropped: Dropped | None) -> Finding:
    """The finding of a rule's match, before the policy's decision."""
    end = match.end if match.exact else match.start
    return context.make_finding(match.rule.id, match.path, match.start, end)._replace(
        view=match.view,
        severity=match.rule.severity,
        confidence=match.confidence,
        excerpt=match.excerpt,
        steps=describe_steps(match, with_words=dropped is not None),
    )


def _unread(
    context: Context, passages: list[Match], surface: Surface, contents: ContentMarks
) -> list[Finding]:
    """Findings about unread passages: cut out of a result, or the whole blocked."""
    spans = [span for passage in passages for span in passage.cuts]
    are_in_sight = all(passage.cuts for passage in passages)
    obstacle = find_obstacle(context, surface, spans if are_in_sight else [])
    content = contents.of_part(UNREAD, (context.part,))
    whole = context.finding(
        UNREAD, context.whole, _SEVERE, content=content, note=_UNREAD_NOTE, obstacle=obstacle
    )
    if whole.action is not Action.CUT:
        return [whole]
    return cut_findings(context, whole, spans)


def _pieces(match: Match, seen: set[tuple[object, ...]]) -> Iterator[Match]:
    """One match for each string that has part of a secret, so that each can be redacted.

    Args:
        match: a match, as sure as its finding.
        seen: the pieces of earlier matches, which are not repeated; extended.
    """
    if len(match.paths) < 2 or not match.rule.is_private:
        yield match
        return
    for path in match.paths:
        piece = match.rule.id, path, match.start, match.end, match.confidence
        if piece not in seen:
            seen.add(piece)
            yield match._replace(path=path, paths=())
