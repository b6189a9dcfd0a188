"""Replaces what was found in a message by placeholders. Knows values and pointers, and no rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from pipeguard.core.finding import Action, Finding
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number
from pipeguard.core.protocol.json_walk import with_strings
from pipeguard.core.protocol.places import MASKED_STEP, pointer_step

MakePlaceholder = Callable[[str, str], str]  # from a rule and its match to the placeholder
MIN_COPY = 8  # characters: a shorter word occurs elsewhere by chance
UNREAD = "protocol.read-limit"  # the rule of a passage that was not read

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
    value: JsonObject, findings: list[Finding], make_placeholder: MakePlaceholder | None = None
) -> JsonObject:
    """A copy of a message in which each finding with the action redact is replaced.

    If the span in the string is known, the span is replaced, and every other copy of the same
    words in the message. If it was seen in another view, the whole string is replaced. Numbers,
    keys, their order and all else stay as they were.

    Args:
        value: the message.
        findings: in it.
        make_placeholder: makes the placeholder of a match; by default it only names the rule.
    """

    def replacement(rule: str, text: str) -> str:
        if rule == UNREAD:  # not a secret, and never put back
            return f"[PipeGuard removed {len(text)} characters here that it could not judge]"
        return make_placeholder(rule, text) if make_placeholder is not None else placeholder(rule)

    spans: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.action is Action.REDACT:
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


class _Redaction:
    """One copy of a message without what was found.

    Attributes:
        words: the placeholders of the words that were cut out of strings.
    """

    def __init__(self, spans: dict[str, list[Finding]], replacement: MakePlaceholder) -> None:
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
        if pointer in self._spans and (MASKED_STEP in pointer or not isinstance(value[key], str)):
            return _unused(placeholder(self._spans[pointer][0].rule), value, copied)
        return key

    def _string(self, text: str, pointer: str) -> str:
        findings = self._spans[pointer]
        if isinstance(text, Number):
            return placeholder(findings[0].rule)  # not a text, so it is never put back
        if MASKED_STEP in pointer or any(f.end <= f.start for f in findings):
            return self._replacement(findings[0].rule, text)  # no certain span
        for finding in findings:
            word = text[finding.start : finding.end]
            if len(word) >= MIN_COPY:
                self.words[word] = self._replacement(finding.rule, word)
        return _cut(text, findings, self._replacement)


def _replaced(text: str, words: dict[str, str]) -> str:
    """The text with each word replaced by its placeholder."""
    for word, replacement in words.items():
        if word in text:
            text = text.replace(word, replacement)
    return text


def _cut(text: str, findings: list[Finding], replacement: MakePlaceholder) -> str:
    """The text with the span of each finding replaced; overlapping spans are replaced as one."""
    spans: list[tuple[int, int, str]] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end, -f.severity)):
        if spans and finding.start < spans[-1][1]:
            first, last, rule = spans[-1]
            spans[-1] = (first, max(last, finding.end), rule)
        else:
            spans.append((finding.start, finding.end, finding.rule))
    parts: list[str] = []
    done = 0
    for first, last, rule in spans:
        parts += (text[done:first], replacement(rule, text[first:last]))
        done = last
    return "".join(parts) + text[done:]


def _unused(name: str, value: JsonObject, copied: JsonObject) -> str:
    """The name, or with a number appended a key that no member has, so that none is lost."""
    wanted, number = name, 1
    while wanted in value or wanted in copied:
        number += 1
        wanted = f"{name} {number}"
    return wanted
