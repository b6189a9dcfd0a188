"""Passages that are cut out of a result, with a line in place of each: their choice, and the lines.

Only text that a model reads as content is cut: not names, and not data. Knows no
rules and no conversation; firewall.session.judge judges what a cut leaves.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from pipeguard.detect.scanning.scan_budget import MAX_CUTS, StringSpan
from pipeguard.detect.scanning.surroundings import EXCERPT_CHARS, shown_words
from pipeguard.firewall.finding import Action, Finding, observe_only, tells_private
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path, walk_strings, walk_texts
from pipeguard.firewall.protocol.places import Surface, pointer
from pipeguard.firewall.session.guard import Context
from pipeguard.firewall.session.rewrite import (
    FORGED,
    Sign,
    block_cuts,
    find_string,
    is_own_line,
    is_read_text,
    list_spellings,
)

KEPT_CHARS = 400  # of a passage, for whoever decides whether it is a false alarm

_CLAIMED = lazy_regex(r"\[\s?(?i:pipeguard\s+cut)\s[^\[\]]{1,240}\]")  # a line, whoever wrote it


def find_obstacle(context: Context, surface: Surface, spans: Sequence[StringSpan]) -> str | None:
    """The reason why spans are not cut out; empty if all are in text that a model reads.

    None for all but results.
    """
    if surface is not Surface.TO_CLIENT:
        return None
    if not spans:
        return "it is hidden, encoded or apart"
    if len(spans) > MAX_CUTS:
        return f"it has more than {MAX_CUTS} passages"
    is_read = is_read_text(context, [span.path for span in spans])
    return "" if is_read else "it is not only text for a model"


def cut_findings(context: Context, finding: Finding, spans: Iterable[StringSpan]) -> list[Finding]:
    """One finding for each part of a passage that is cut out; none for a part of another part."""
    parts, ends = list[Finding](), dict[Path, int]()
    for path, start, end in sorted(spans, key=lambda span: (span.start, -span.end)):
        if end <= ends.get(path, 0):
            continue
        ends[path], at = end, pointer(context.prefix + path)
        has_match = at == finding.pointer and start <= finding.start < end
        match, place = finding.start if has_match else start, context.place(path)
        parts.append(finding._replace(place=place, pointer=at, start=start, end=end, match=match))
    return parts


def with_words(value: JsonValue, findings: list[Finding]) -> list[Finding]:
    """The findings in a message, without secrets; findings of cuts with their words and size.

    Whoever decides whether it was a false alarm reads these words, but no secret among them.
    """
    if not any(f.action is Action.CUT or tells_private(f.rule) for f in findings):
        return findings
    # Without cuts of folded words that go with the unfolded words.
    plain: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.action is Action.CUT and finding.view == "text":
            plain.setdefault((finding.rule, finding.pointer), []).append(finding)
    findings = [
        finding
        for finding in findings
        if (finding.action, finding.view) != (Action.CUT, "folded")
        or not any(
            other.start <= finding.start and finding.end <= other.end
            for other in plain.get((finding.rule, finding.pointer), ())
        )
    ]
    private = [finding for finding in findings if tells_private(finding.rule)]
    private.sort(key=lambda finding: -finding.start)
    secrets = _secrets(value, private)
    shown = [_with_words(value, finding, private, secrets) for finding in findings]
    cuts = Counter(finding.rule for finding in shown if finding.action is Action.CUT)
    if max(cuts.values(), default=0) > MAX_CUTS or count_passages(shown) > MAX_CUTS:
        why = f"more than {MAX_CUTS} passages would have to be cut out"
        return block_cuts(shown[: 2 * MAX_CUTS], why)
    return shown


def count_passages(findings: Iterable[Finding]) -> int:
    """The number of passages that are cut out; touching ones count once."""
    count, end = 0, ("", -1)
    for pointer_, start, last in sorted(
        (f.pointer, f.start, f.end) for f in findings if f.action is Action.CUT
    ):
        count += (pointer_, start) > end
        end = max(end, (pointer_, last))
    return count


def _secrets(value: JsonValue, private: Iterable[Finding]) -> list[str]:
    """The secrets of a message, as written in its strings, the longest first.

    A rule reports a secret once; its copies are known by their words only.
    """
    words = dict.fromkeys(
        spelling
        for finding in private
        if (string := find_string(value, finding.pointer))
        if (secret := string[finding.start : finding.end])
        for spelling in list_spellings(secret)
    )
    return sorted(words, key=len, reverse=True)


def _with_words(
    value: JsonValue, finding: Finding, private: Sequence[Finding], secrets: Sequence[str]
) -> Finding:
    """A finding whose excerpt has no secret; for a cut, with its words and size."""
    is_cut = finding.action is Action.CUT
    string = "" if tells_private(finding.rule) else find_string(value, finding.pointer)
    if not string:
        return finding._replace(excerpt="") if is_cut else finding
    words = string[finding.start : finding.end]
    # Before the match, a long passage may have as much harmless text as is shown.
    begin = finding.match if is_cut and len(words) > KEPT_CHARS else finding.start
    clean = _without_secrets(string, finding._replace(start=begin), private)
    for secret in secrets:
        clean = clean.replace(secret, "…")
    if finding.end <= finding.start:  # its excerpt is of words that are somewhere in the string
        return finding._replace(excerpt="")
    if not is_cut:
        excerpt = shown_words(clean, EXCERPT_CHARS)
        return finding if clean == words else finding._replace(excerpt=excerpt)
    size = f"{len(words)} characters, {len(words.encode())} bytes"
    note = f"{finding.note}; {size}" if finding.note else size
    clean = f"… {clean.lstrip(' .,:!?')}" if begin > finding.start else clean
    return finding._replace(excerpt=shown_words(clean, KEPT_CHARS), note=note)


def _without_secrets(string: str, finding: Finding, private: Sequence[Finding]) -> str:
    """The words of a finding in its string, without the known secrets in them."""
    words = string[finding.start : finding.end]
    for other in private:
        if other.pointer == finding.pointer:
            is_known = other.start < other.end
            low = max(0, other.start - finding.start) if is_known else 0
            high = max(low, other.end - finding.start) if is_known else len(words)
            words = words[:low] + "…" * (low < len(words) and high > low) + words[high:]
    return words


def forged_lines(context: Context, value: JsonValue, sign: Sign) -> list[Finding]:
    """The lines in a message to the client that claim to be PipeGuard's and are not.

    An earlier message's line is forged too: only the server can have it from the client.
    """
    findings: list[Finding] = []
    if not _CLAIMED.search("\n".join(walk_texts(value))):
        return findings
    for path, text in walk_strings(value):
        for match in _CLAIMED.finditer(text):
            if len(findings) <= MAX_CUTS and not is_own_line(match[0], context.event, sign):
                span = StringSpan(path, *match.span())
                is_cut = find_obstacle(context, Surface.TO_CLIENT, [span]) == ""
                finding = context.make_finding(FORGED, path, *match.span())._replace(
                    excerpt=shown_words(match[0], KEPT_CHARS),
                    action=Action.CUT if is_cut else Action.REDACT,
                    note="a notice that PipeGuard did not write here was removed",
                )
                findings.append(finding)
    if context.guard.policy.observes:
        return [observe_only(finding) for finding in findings]
    if len(findings) > MAX_CUTS:
        return [findings[0]._replace(action=Action.BLOCK)]
    return findings
