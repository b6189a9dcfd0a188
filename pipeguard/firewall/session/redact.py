"""Replaces what was found in a message by placeholders. Knows values and pointers, and no rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from pipeguard.detect.rules.rule import tells_private
from pipeguard.firewall.finding import Action, Finding
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number
from pipeguard.firewall.protocol.json_walk import with_strings
from pipeguard.firewall.protocol.places import MASKED_STEP, pointer_step
from pipeguard.firewall.session.cuts import spellings_of

MakePlaceholder = Callable[[str, str], str]  # from a rule and its match to the placeholder
_Replace = Callable[[Finding, str], str]  # from a finding and its words to what replaces them
MIN_COPY = 8  # characters: a shorter word occurs elsewhere by chance
MIN_PASSAGE_COPY = 24  # likewise, of a passage that is cut out

# Identifiers: changed, they would name something else.
NEVER_REDACTED = frozenset(
    f"/{pointer}"
    for pointer in (
        *("jsonrpc", "id", "method", "params/name", "params/uri", "params/cursor"),
        *("params/taskId", "params/requestId", "params/requestState"),
        *("params/progressToken", "params/_meta/progressToken"),
    )
)


def redact(
    value: JsonObject,
    findings: list[Finding],
    make_placeholder: MakePlaceholder | None = None,
    make_line: MakePlaceholder | None = None,
) -> JsonObject:
    """A copy of a message in which each finding with the action redact or cut is replaced.

    If the span in the string is known, the span is replaced, and every other copy of the same
    words in the message. If it was seen in another view, the whole string is replaced. Numbers,
    keys, their order and all else stay as they were.

    Args:
        value: the message.
        findings: in it.
        make_placeholder: makes the placeholder of a match; by default it only names the rule.
        make_line: makes the line in place of what is cut.
    """

    def replacement(finding: Finding, text: str) -> str:
        make = make_line if finding.action is Action.CUT else make_placeholder
        if not tells_private(finding.rule) and finding.action is not Action.CUT:
            make = None  # no secret, so it is never put back
        return (make or _nameless)(finding.rule, text)

    spans: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.action in (Action.REDACT, Action.CUT):
            spans[finding.pointer].append(finding)
    redaction = _Redaction(spans, replacement)
    copied = redaction.copy(value, "")
    words = redaction.words
    if words:
        copied = with_strings(copied, lambda text: _replaced(text, words))
    assert isinstance(copied, dict)  # noqa: S101  a copy of an object
    return copied


def placeholder(rule: str) -> str:
    """The placeholder of a secret that is never put back: it names the rule and nothing else."""
    return f"[redacted:{rule}]"


def _nameless(rule: str, _text: str) -> str:
    return placeholder(rule)


class _Redaction:
    """One copy of a message without what was found.

    Attributes:
        words: the placeholders of the words that were cut out of strings.
    """

    def __init__(self, spans: dict[str, list[Finding]], replacement: _Replace) -> None:
        self._spans = spans
        self._replacement = replacement
        self.words: dict[str, str] = {}

    def copy(self, value: JsonValue, pointer: str) -> JsonValue:
        """A copy of the value at a pointer."""
        if isinstance(value, dict):
            copied: JsonObject = {}
            for key, item in value.items():
                inner = pointer + pointer_step(key)
                copied[self._key(key, inner, value, copied)] = self.copy(item, inner)
            return copied
        if isinstance(value, list):
            return [self.copy(item, f"{pointer}/{index}") for index, item in enumerate(value)]
        if not isinstance(value, str) or pointer not in self._spans:
            return value
        return self._string(value, pointer)

    def _key(self, key: str, pointer: str, value: JsonObject, copied: JsonObject) -> str:
        """The key in the copy: where it may be what was found, a placeholder."""
        findings = [f for f in self._spans.get(pointer, ()) if f.action is Action.REDACT]
        if findings and (MASKED_STEP in pointer or not isinstance(value[key], str)):
            return _unused(placeholder(findings[0].rule), value, copied)
        return key

    def _string(self, text: str, pointer: str) -> str:
        findings = self._spans[pointer]
        if isinstance(text, Number):
            return placeholder(findings[0].rule)  # not a text, so it is never put back
        if MASKED_STEP in pointer or any(f.end <= f.start for f in findings):
            return self._replacement(findings[0], text)  # no certain span
        for finding in findings:
            word = text[finding.start : finding.end]
            is_passage = finding.action is Action.CUT
            if len(word) >= (MIN_PASSAGE_COPY if is_passage else MIN_COPY):
                for spelling in spellings_of(word) if is_passage else (word,):
                    self.words[spelling] = self._replacement(finding, word)
        return _cut(text, findings, self._replacement)


def _replaced(text: str, words: dict[str, str]) -> str:
    """The text with each word replaced by its placeholder."""
    for word, replacement in words.items():
        if word in text:
            text = text.replace(word, replacement)
    return text


def _cut(text: str, findings: list[Finding], replacement: _Replace) -> str:
    """The text with the span of each finding replaced; overlapping spans are replaced as one.

    A secret that is partly in a passage goes with it, and not into a placeholder.
    """
    spans: list[tuple[int, int, Finding]] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end, -f.severity)):
        if spans and finding.start < spans[-1][1]:
            first, last, other = spans[-1]
            spans[-1] = (first, max(last, finding.end), max(other, finding, key=_gravity))
        else:
            spans.append((finding.start, finding.end, finding))
    parts: list[str] = []
    done = 0
    for first, last, finding in spans:
        parts += (text[done:first], replacement(finding, text[first:last]))
        done = last
    return "".join(parts) + text[done:]


def _gravity(finding: Finding) -> Action:
    return finding.action


def _unused(name: str, value: JsonObject, copied: JsonObject) -> str:
    """The name, or with a number appended a key that no member has, so that none is lost."""
    wanted, number = name, 1
    while wanted in value or wanted in copied:
        number += 1
        wanted = f"{name} {number}"
    return wanted
