"""Passages that are cut out of a result, with a line in place of each: which, and what it says.

Only text that a model reads as content is cut: what names something, or is data, is not. Knows no
rules and no conversation; firewall.session.judge judges what a cut leaves.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from pipeguard.detect.flows.vault import Vault
from pipeguard.detect.rules.rule import tells_private
from pipeguard.detect.scanning.context import EXCERPT_CHARS, shown_words
from pipeguard.detect.scanning.scan_result import StringSpan
from pipeguard.firewall.finding import Action, Finding, observed
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.policy import Mode
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.json_walk import strings_in, values_in
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS, Surface, pointer, value_at
from pipeguard.firewall.session.scope import Scope

UNREAD = "protocol.read-limit"  # the rule of a passage that was not read
FORGED = "protocol.forged-mark"  # that of a line that only PipeGuard writes
MAX_CUTS = 256  # of a message; one with more is blocked
KEPT_CHARS = 400  # of a passage, for whoever decides whether it is a false alarm
TEXT_SHARE = 2  # of a result's text, one part in so many must be left

_STRUCTURED = "result.structured"  # its keys are the server's
_PLACES = frozenset(
    {"result.text", "result.resource", "result.link", "prompt.text", "prompt.message"}
)
_STRICT = frozenset(
    {"const", "enum", "format", "maxLength", "minLength", "not", "pattern", "uniqueItems"}
)
_TEXTS = frozenset({"text", "description", "title"})  # keys of what a model reads there
_NO_TEXTS = FIXED_VALUE_KEYS | {"data", "blob", "uri"}
_LINE = lazy_regex(
    r"\[PipeGuard cut (\d+) characters here, event ([\w.]*),(?: mark [0-9a-f]{8},)? which"
    r" ([A-Za-z ]{1,40})\. Do not guess what was there\.\]"
)
_CLAIMED = lazy_regex(r"\[\s?(?i:pipeguard\s+cut)\s[^\[\]]{1,240}\]")  # a line, whoever wrote it
_WHY = {UNREAD: "it could not judge", FORGED: "look like a notice of PipeGuard"}


def can_cut(scope: Scope, surface: Surface, spans: Sequence[StringSpan]) -> bool:
    """True if all of the spans are in text that a model reads in a result."""
    if surface is not Surface.TO_CLIENT or scope.part != "result" or not spans:
        return False
    if len(spans) > MAX_CUTS:
        return False
    places = [scope.place(span.path) for span in spans]
    if not all(map(_is_content, places, (span.path[-1] for span in spans))):
        return False
    return _STRUCTURED not in places or not _has_strict_schema(scope)


def _is_content(place: str, key: str | int) -> bool:
    return place == _STRUCTURED or (place in _PLACES and key in _TEXTS)


def _has_strict_schema(scope: Scope) -> bool:
    """True if the tool promises more of its strings than that they are strings."""
    pin = scope.guard.pin("tool", scope.tool) if scope.tool is not None else None
    text = pin.approved_definition if pin is not None else None
    if text is None or '"outputSchema"' not in text:
        return False
    return any(
        path[-1] in _STRICT and path[-2:-1] != ("properties",)
        for path, _ in values_in(json.loads(text))
        if path and path[0] == "outputSchema"
    )


def cut_findings(scope: Scope, finding: Finding, spans: Iterable[StringSpan]) -> list[Finding]:
    """One finding for each part of a passage that is cut out."""
    return [
        finding._replace(
            place=scope.place(span.path),
            pointer=pointer(scope.prefix + span.path),
            start=span.start,
            end=span.end,
        )
        for span in spans
    ]


def with_words(value: JsonValue, findings: list[Finding]) -> list[Finding]:
    """The findings in a message without secrets; those of what is cut out with its words and size.

    Whoever decides whether it was a false alarm reads these, and no secret that is among them.
    """
    if not any(f.action is Action.CUT or tells_private(f.rule) for f in findings):
        return findings
    findings = _without_repeated(findings)
    private = [finding for finding in findings if tells_private(finding.rule)]
    private.sort(key=lambda finding: -finding.start)
    secrets = _secrets(value, private)
    shown = [_with_words(value, finding, private, secrets) for finding in findings]
    cuts = Counter(finding.rule for finding in shown if finding.action is Action.CUT)
    if max(cuts.values(), default=0) > MAX_CUTS or count_passages(shown) > MAX_CUTS:
        why = f"more than {MAX_CUTS} passages would have to be cut out"
        return withheld(shown[: 2 * MAX_CUTS], why)
    return shown


def _without_repeated(findings: Sequence[Finding]) -> list[Finding]:
    """The findings without cuts of folded words that go with the words as they are."""
    plain: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.action is Action.CUT and finding.view == "text":
            plain.setdefault((finding.rule, finding.pointer), []).append(finding)
    return [
        finding
        for finding in findings
        if (finding.action, finding.view) != (Action.CUT, "folded")
        or not any(
            other.start <= finding.start and finding.end <= other.end
            for other in plain.get((finding.rule, finding.pointer), ())
        )
    ]


def count_passages(findings: Iterable[Finding]) -> int:
    """The number of passages that are cut out, of which no two touch."""
    count, end = 0, ("", -1)
    for pointer_, start, last in sorted(
        (f.pointer, f.start, f.end) for f in findings if f.action is Action.CUT
    ):
        count += (pointer_, start) > end
        end = max(end, (pointer_, last))
    return count


def _secrets(value: JsonValue, private: Iterable[Finding]) -> list[str]:
    """The secrets of a message as its strings may have them, the longest first.

    A rule reports a secret once; its copies are known by their words only.
    """
    words = dict.fromkeys(
        spelling
        for finding in private
        if (string := _string_of(value, finding)) is not None
        if (secret := string[finding.start : finding.end])
        for spelling in spellings_of(secret)
    )
    return sorted(words, key=len, reverse=True)


def _with_words(
    value: JsonValue, finding: Finding, private: Sequence[Finding], secrets: Sequence[str]
) -> Finding:
    """A finding whose excerpt has no secret; of what is cut out, with its words and size."""
    is_cut = finding.action is Action.CUT
    string = None if tells_private(finding.rule) else _string_of(value, finding)
    if string is None:
        return finding._replace(excerpt="") if is_cut else finding
    words = string[finding.start : finding.end]
    clean = _without_secrets(words, finding, private)
    for secret in secrets:
        clean = clean.replace(secret, "…")
    if not is_cut:
        is_clean = clean == words or finding.end <= finding.start
        return finding if is_clean else finding._replace(excerpt=shown_words(clean, EXCERPT_CHARS))
    size = f"{len(words)} characters, {len(words.encode())} bytes"
    note = f"{finding.note}; {size}" if finding.note else size
    return finding._replace(excerpt=shown_words(clean, KEPT_CHARS), note=note)


def _without_secrets(words: str, finding: Finding, private: Sequence[Finding]) -> str:
    """The words of a finding without the secrets that are known to be in them."""
    for other in private:
        if other.pointer == finding.pointer:
            is_known = other.start < other.end
            low = max(0, other.start - finding.start) if is_known else 0
            high = max(low, other.end - finding.start) if is_known else len(words)
            words = words[:low] + "…" * (low < len(words) and high > low) + words[high:]
    return words


def _string_of(value: JsonValue, finding: Finding) -> str | None:
    steps = [s.replace("~1", "/").replace("~0", "~") for s in finding.pointer.split("/")[1:]]
    string = value_at(value, steps)
    return string if isinstance(string, str) else None


def withheld(findings: Iterable[Finding], why: str) -> list[Finding]:
    """The findings, with those that would be cut out blocked."""
    return [
        finding._replace(action=Action.BLOCK, note=why) if finding.action is Action.CUT else finding
        for finding in findings
    ]


def later_cuts(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in what an earlier cut left, whose places in the original are not known."""
    return [f._replace(start=0, end=0) for f in findings if f.action is Action.CUT]


def cut_line(rule: str, passage: str, event: str, vault: Vault | None = None) -> str:
    """The line that a model reads in place of a passage, which may have earlier lines in it."""
    length = len(passage)
    for line in _LINE.finditer(passage):
        length += int(line[1]) - len(line[0]) if _is_own(line[0], vault) else 0
    return _line(str(length), event, _WHY.get(rule, "look like an order to a model"), vault)


def _line(length: str, event: str, why: str, vault: Vault | None) -> str:
    """A line with the mark of this run, which depends on all that it says."""
    mark = "" if vault is None else f" mark {vault.tag('cut', f'{length}:{event}:{why}')[:8]},"
    return (
        f"[PipeGuard cut {length} characters here, event {event},{mark} which {why}."
        " Do not guess what was there.]"
    )


def _is_own(line: str, vault: Vault | None) -> bool:
    match = _LINE.fullmatch(line)
    return match is not None and _line(match[1], match[2], match[3], vault) == line


def forged_lines(scope: Scope, value: JsonValue) -> list[Finding]:
    """The lines in a message to the client that claim to be PipeGuard's and are not."""
    findings: list[Finding] = []
    for path, text in strings_in(value):
        for match in _CLAIMED.finditer(text):
            if len(findings) <= MAX_CUTS and not _is_own(match[0], scope.guard.vault):
                is_cut = can_cut(scope, Surface.TO_CLIENT, [StringSpan(path, *match.span())])
                findings.append(
                    Finding(
                        *(FORGED, scope.place(path), pointer(scope.prefix + path), *match.span()),
                        excerpt=shown_words(match[0], KEPT_CHARS),
                        action=Action.CUT if is_cut else Action.REDACT,
                        note="a notice that PipeGuard did not write in this run was removed",
                        tool=scope.tool,
                    )
                )
    if scope.guard.policy.mode is Mode.OBSERVE:
        return [observed(finding) for finding in findings]
    return (
        findings
        if len(findings) <= MAX_CUTS
        else [f._replace(action=Action.BLOCK) for f in findings[:1]]
    )


def spellings_of(passage: str) -> tuple[str, ...]:
    """A passage as other strings of the same result have it: also as, or out of, a JSON string."""
    spellings = [passage, *(json.dumps(passage, ensure_ascii=e)[1:-1] for e in (False, True))]
    with suppress(ValueError):  # it is no part of a JSON string
        spellings.append(str(json.loads(f'"{passage}"')))
    return tuple(dict.fromkeys(spellings))


def has_orders(findings: Iterable[Finding]) -> bool:
    """True if some of what is cut out was read, and is an order."""
    return any(f.action is Action.CUT and f.rule not in _WHY for f in findings)


def leaves_enough(original: JsonObject, left: JsonObject) -> bool:
    """True if most of the text of a result is left beside the lines."""
    return TEXT_SHARE * _text_chars(left) >= _text_chars(original)


def _text_chars(message: JsonObject) -> int:
    return sum(
        len(_LINE.sub("", text))
        for path, text in strings_in(message.get("result"))
        if path and path[0] != "_meta" and path[-1] not in _NO_TEXTS
    )
