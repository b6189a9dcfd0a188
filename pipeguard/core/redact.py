"""Puts placeholders where findings stand. Knows values and pointers, and no rules."""

from __future__ import annotations

from collections import defaultdict

from pipeguard.core.finding import Action, Finding
from pipeguard.core.message import JsonObject, JsonValue, Number


def redact(value: JsonObject, findings: list[Finding]) -> JsonObject:
    """A copy of a message in which what is to be redacted is replaced by typed placeholders.

    Where the span in the string is known, only the span goes; where it was seen in another
    view, the whole string goes. Numbers, key order and all else stay as they were.
    """
    spans: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.action is Action.REDACT:
            spans[finding.pointer].append(finding)
    copied = _copy(value, "", spans)
    assert isinstance(copied, dict)  # noqa: S101  a copy of an object
    return copied


def placeholder(rule: str) -> str:
    """What stands in place of a secret: names its kind and gives nothing away."""
    return f"[redacted:{rule}]"


def _copy(value: JsonValue, at: str, spans: dict[str, list[Finding]]) -> JsonValue:
    if isinstance(value, dict):
        copied: JsonObject = {}
        for key, item in value.items():
            inner = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
            hidden = key
            if inner in spans and not isinstance(item, str):
                hidden = _free(placeholder(spans[inner][0].rule), value, copied)  # the key was it
            copied[hidden] = _copy(item, inner, spans)
        return copied
    if isinstance(value, list):
        return [_copy(item, f"{at}/{index}", spans) for index, item in enumerate(value)]
    if isinstance(value, str) and at in spans:
        return _cut(value, spans[at])
    return value


def _cut(text: str, findings: list[Finding]) -> str:
    exact = [finding for finding in findings if finding.end > finding.start]
    if len(exact) < len(findings) or isinstance(text, Number):
        return placeholder(findings[0].rule)
    parts: list[str] = []
    done = 0
    for finding in sorted(exact, key=lambda finding: (finding.start, -finding.end)):
        if finding.end <= done:
            continue
        if finding.start >= done:
            parts += (text[done : finding.start], placeholder(finding.rule))
        done = finding.end  # of two that overlap, one placeholder stands for both
    return "".join(parts) + text[done:]


def _free(name: str, value: JsonObject, copied: JsonObject) -> str:
    """A key that no member has yet, so that none is lost."""
    wanted, number = name, 1
    while wanted in value or wanted in copied:
        number += 1
        wanted = f"{name} {number}"
    return wanted
