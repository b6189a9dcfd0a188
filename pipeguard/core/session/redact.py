"""Puts placeholders where findings stand. Knows values and pointers, and no rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from pipeguard.core.finding import Action, Finding
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number
from pipeguard.core.protocol.json_walk import with_strings
from pipeguard.core.protocol.places import MASKED_STEP, pointer_step

PlaceHolder = Callable[[str, str], str]  # from a rule and what it found to what stands for it
MIN_COPY = 8  # characters: shorter words stand elsewhere by chance
UNREAD = "protocol.read-limit"  # of a passage that nobody read

# By these the two sides and their users know things again: changed, they would name others.
NEVER_REDACTED = frozenset(
    f"/{pointer}"
    for pointer in (
        *("jsonrpc", "id", "method", "params/name", "params/uri", "params/cursor"),
        *("params/taskId", "params/requestId", "params/requestState"),
        *("params/progressToken", "params/_meta/progressToken"),
    )
)


def redact(
    value: JsonObject, findings: list[Finding], place_holder: PlaceHolder | None = None
) -> JsonObject:
    """A copy of a message in which what is to be redacted is replaced by typed placeholders.

    Where the span in the string is known, the span goes, and every other copy of the same words
    in the message; where it was seen in another view, the whole string goes. Numbers, keys,
    their order and all else stay as they were.

    Args:
        value: the message.
        findings: of it.
        place_holder: makes what stands for a text that a rule found; else it only names the rule.
    """

    def made(rule: str, text: str) -> str:
        if rule == UNREAD:  # no secret, and nobody shall put it back
            return f"[PipeGuard took out {len(text)} characters here that it could not judge]"
        return place_holder(rule, text) if place_holder is not None else placeholder(rule)

    spans: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.action is Action.REDACT:
            spans[finding.pointer].append(finding)
    words: dict[str, str] = {}
    copied = _copy(value, "", spans, words, made)
    if words:
        copied = with_strings(copied, lambda text: _replaced(text, words))
    assert isinstance(copied, dict)  # noqa: S101  a copy of an object
    return copied


def placeholder(rule: str) -> str:
    """What stands in place of a secret: names its kind and gives nothing away."""
    return f"[redacted:{rule}]"


def _copy(
    value: JsonValue,
    at: str,
    spans: dict[str, list[Finding]],
    words: dict[str, str],
    made: PlaceHolder,
) -> JsonValue:
    if isinstance(value, dict):
        copied: JsonObject = {}
        for key, item in value.items():
            inner, shown = at + pointer_step(key), key
            if inner in spans and (MASKED_STEP in inner or not isinstance(item, str)):
                shown = _free(placeholder(spans[inner][0].rule), value, copied)  # it may be the key
            copied[shown] = _copy(item, inner, spans, words, made)
        return copied
    if isinstance(value, list):
        return [
            _copy(item, f"{at}/{index}", spans, words, made) for index, item in enumerate(value)
        ]
    if not isinstance(value, str) or at not in spans:
        return value
    found = spans[at]
    if isinstance(value, Number):
        return placeholder(found[0].rule)  # no text, so none is put back
    if MASKED_STEP in at or any(f.end <= f.start for f in found):
        return made(found[0].rule, value)  # which part of it is not known for certain
    for finding in found:
        word = value[finding.start : finding.end]
        if len(word) >= MIN_COPY:
            words[word] = made(finding.rule, word)
    return _cut(value, found, made)


def _replaced(text: str, words: dict[str, str]) -> str:
    """The text with each word replaced by its placeholder."""
    for word, stands in words.items():
        if word in text:
            text = text.replace(word, stands)
    return text


def _cut(text: str, findings: list[Finding], made: PlaceHolder) -> str:
    spans: list[tuple[int, int, str]] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end, -f.severity)):  # tell the worst
        if spans and finding.start < spans[-1][1]:  # of two that overlap, one stands for both
            first, last, rule = spans[-1]
            spans[-1] = (first, max(last, finding.end), rule)
        else:
            spans.append((finding.start, finding.end, finding.rule))
    parts: list[str] = []
    done = 0
    for first, last, rule in spans:
        parts += (text[done:first], made(rule, text[first:last]))
        done = last
    return "".join(parts) + text[done:]


def _free(name: str, value: JsonObject, copied: JsonObject) -> str:
    """A key that no member has yet, so that none is lost."""
    wanted, number = name, 1
    while wanted in value or wanted in copied:
        number += 1
        wanted = f"{name} {number}"
    return wanted
