"""Rewrites a message without its findings: placeholders for secrets, lines for passages.

Knows values and pointers, and no rules. `firewall.session.judge` judges the rest.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress

from pipeguard.firewall.finding import PARTIAL, Action, Finding
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    Path,
    walk_strings,
    walk_values,
    with_strings,
)
from pipeguard.firewall.protocol.places import (
    FIXED_VALUE_KEYS,
    MASKED_STEP,
    get_value,
    pointer_step,
)
from pipeguard.firewall.session.guard import Context

# From a finding, its words and the string that has them to their replacement.
Replace = Callable[[Finding, str, str], str]
Sign = Callable[[str], str]  # from a text to its signature, empty without a key
UNREAD = "protocol.read-limit"  # the rule of a passage that was not read
FORGED = "protocol.forged-mark"  # that of a line that only PipeGuard writes
HIDDEN = "injection.terminal-escape"  # the rule for text that a terminal does not show
TEXT_SHARE = 2  # one in two parts of a result's text must be left
_NO_TEXTS = FIXED_VALUE_KEYS | {"data", "blob", "uri"}
CUT_SIGN = "[PipeGuard cut "  # begins each line
LINE = lazy_regex(
    r"\[PipeGuard cut (\d+) characters here, event ([\w.]*),(?: mark ([0-9a-f]{8})[0-9a-f]{8},)?"
    r" which ([A-Za-z ]{1,48})\. Do not guess what was there\.\]"
)
_WHY = {
    UNREAD: "it could not judge",
    FORGED: "look like a notice of PipeGuard",
    HIDDEN: "hide text from a person or act on a terminal",
}
MIN_COPY = 8  # characters: a shorter word occurs elsewhere by chance
MIN_PASSAGE_COPY = 24  # the same, of a passage that is cut out

# Identifiers: changed, they would name something else.
NEVER_REDACTED = frozenset(
    f"/{pointer}"
    for pointer in (
        "jsonrpc",
        "id",
        "method",
        "params/name",
        "params/uri",
        "params/cursor",
        "params/taskId",
        "params/requestId",
        "params/requestState",
        "params/progressToken",
        "params/_meta/progressToken",
    )
)


def placeholder(rule: str) -> str:
    """The placeholder of a secret that is never restored: it names only the rule."""
    return f"[redacted:{rule}]"


def name_rule(finding: Finding, _words: str, _source: str) -> str:
    """Replace the words of a finding by the name of its rule."""
    return placeholder(finding.rule)


def redact(
    value: JsonObject,
    findings: list[Finding],
    replace: Replace = name_rule,
) -> JsonObject:
    """A copy of a message in which each finding with the action redact or cut is replaced.

    If the span in the string is known, the span is replaced, and every other copy of the same
    words in the message. If it was seen in another view, the whole string is replaced. Numbers,
    keys, their order and all else stay as they were.

    Args:
        value: the message.
        findings: in it.
        replace: makes the replacement of each.
    """
    spans: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.action in PARTIAL:
            spans[finding.pointer].append(finding)
    redaction = _Redaction(spans, replace)
    copied = redaction.copy(value, "")
    words = redaction.words
    if words:
        copied = with_strings(copied, lambda text: _replace_words(text, words))
    assert isinstance(copied, dict)  # noqa: S101  a copy of an object
    return copied


class _Redaction:
    """One copy of a message without the text of its findings.

    Attributes:
        words: the placeholders of the words that were cut out of strings.
    """

    def __init__(self, spans: dict[str, list[Finding]], replace: Replace) -> None:
        self._spans = spans
        self._replace = replace
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
        """The key in the copy: a placeholder if the key may be the text found."""
        findings = [f for f in self._spans.get(pointer, ()) if f.action is Action.REDACT]
        if findings and (MASKED_STEP in pointer or not isinstance(value[key], str)):
            return _unused_name(placeholder(findings[0].rule), value, copied)
        return key

    def _string(self, text: str, pointer: str) -> str:
        findings = self._spans[pointer]
        if isinstance(text, Number):
            return placeholder(findings[0].rule)  # not a text, so it is never put back
        if MASKED_STEP in pointer or any(f.end <= f.start for f in findings):
            return self._replace(findings[0], text, text)  # no certain span
        for finding in findings:
            word = text[finding.start : finding.end]
            is_passage = finding.action is Action.CUT
            if len(word) >= (MIN_PASSAGE_COPY if is_passage else MIN_COPY):
                for spelling in list_spellings(word) if is_passage else (word,):
                    self.words[spelling] = self._replace(finding, word, text)
        return _cut(text, findings, self._replace)


def _replace_words(text: str, words: dict[str, str]) -> str:
    """The text with each word replaced by its placeholder."""
    for word, replacement in words.items():
        if word in text:
            text = text.replace(word, replacement)
    return text


def _cut(text: str, findings: list[Finding], replace: Replace) -> str:
    """The text with the span of each finding replaced; overlapping spans are replaced as one.

    A secret that is partly in a passage goes with it, and not into a placeholder.
    """
    spans: list[tuple[int, int, Finding]] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end, -f.severity)):
        if spans and finding.start < spans[-1][1]:
            first, last, other = spans[-1]
            spans[-1] = (first, max(last, finding.end), max(other, finding, key=lambda f: f.action))
        else:
            spans.append((finding.start, finding.end, finding))
    parts: list[str] = []
    done = 0
    for first, last, finding in spans:
        parts += (text[done:first], replace(finding, text[first:last], text))
        done = last
    return "".join(parts) + text[done:]


def _unused_name(name: str, value: JsonObject, copied: JsonObject) -> str:
    """The name, or with a number appended a key that no member has, so that no member is lost."""
    wanted = name
    number = 1
    while wanted in value or wanted in copied:
        number += 1
        wanted = f"{name} {number}"
    return wanted


# --- cuts ----------------------------------------------------------------------

_STRUCTURED = "result.structured"  # its keys are the server's
_PLACES = frozenset(
    {"result.text", "result.resource", "result.link", "prompt.text", "prompt.message"}
)
_STRICT = frozenset(
    {"const", "enum", "format", "maxLength", "minLength", "not", "pattern", "uniqueItems"}
)
_TEXTS = frozenset({"text", "description", "title"})  # keys of text for a model


def is_read_text(context: Context, paths: list[Path]) -> bool:
    """True if a model reads all texts at these paths of a result: no names, and no data."""
    places_ = [context.place(path) for path in paths]
    for place, path in zip(places_, paths, strict=True):
        if place != _STRUCTURED and not (place in _PLACES and path[-1] in _TEXTS):
            return False
    is_result = context.part == "result"
    return is_result and (_STRUCTURED not in places_ or not _has_strict_schema(context))


def _has_strict_schema(context: Context) -> bool:
    """True if the tool's schema requires more of its strings than their type."""
    pin = context.guard.pin("tool", context.tool) if context.tool is not None else None
    text = pin.approved_definition if pin is not None else None
    if text is None or '"outputSchema"' not in text:
        return False
    return any(
        path[-1] in _STRICT and path[-2:-1] != ("properties",)
        for path, _ in walk_values(json.loads(text))
        if path and path[0] == "outputSchema"
    )


def block_cuts(findings: Iterable[Finding], why: str) -> list[Finding]:
    """The findings, with cuts turned into blocks."""
    return [
        finding._replace(action=Action.BLOCK, note=why, steps=(*finding.steps, f"block: {why}"))
        if finding.action is Action.CUT
        else finding
        for finding in findings
    ]


def find_later_cuts(
    findings: Iterable[Finding], left: JsonObject, original: JsonObject
) -> list[Finding]:
    """Findings in the text that an earlier cut left, at their places in the original.

    If the words do not occur exactly once, their place is unknown.
    """
    cuts: list[Finding] = []
    for finding in findings:
        if finding.action is Action.CUT:
            words = find_string(left, finding.pointer)[finding.start : finding.end]
            whole = find_string(original, finding.pointer)
            start = end = 0
            if words and whole.count(words) == 1:
                start = whole.find(words)
                end = start + len(words)
            cuts.append(finding._replace(start=start, end=end))
    return cuts


def find_string(value: JsonValue, pointer: str) -> str:
    """The string at a pointer; empty if there is none."""
    string = get_value(
        value, [s.replace("~1", "/").replace("~0", "~") for s in pointer.split("/")[1:]]
    )
    return string if isinstance(string, str) else ""


def cut_line(rule: str, passage: str, event: str, sign: Sign) -> str:
    """The line that replaces a passage for the model; the passage may contain earlier lines."""
    length = len(passage)
    for line in LINE.finditer(passage):
        length += int(line[1]) - len(line[0]) if is_own_line(line[0], event, sign) else 0
    why = _WHY.get(rule, "look like an order to a model")
    return _line(str(length), event, why, sign, sign(passage)[:8])


def _line(length: str, event: str, why: str, sign: Sign, name: str) -> str:
    """A line with the mark of this run: the name of the passage, and a signature of the line."""
    signature = sign(f"{length}:{event}:{why}:{name}")
    mark = f" mark {name}{signature[:8]}," if signature else ""
    return (
        f"[PipeGuard cut {length} characters here, event {event},{mark} which {why}."
        " Do not guess what was there.]"
    )


def sign_line(line: re.Match[str], passage: str, sign: Sign) -> str:
    """Write a line for another passage, with another signature: for the record of a session."""
    return _line(line[1], line[2], line[4], sign, sign(passage)[:8])


def is_own_line(line: str, event: str, sign: Sign) -> bool:
    """True for a line that PipeGuard wrote into the message of this event."""
    match = LINE.fullmatch(line)
    return match is not None and _line(match[1], event, match[4], sign, match[3] or "") == line


def list_spellings(passage: str) -> tuple[str, ...]:
    """A passage as other strings of the same result spell it: inside, or out of, a JSON string."""
    spellings = [passage, *(json.dumps(passage, ensure_ascii=e)[1:-1] for e in (False, True))]
    with suppress(ValueError):  # it is not part of a JSON string
        spellings.append(str(json.loads(f'"{passage}"')))
    return tuple(dict.fromkeys(spellings))


def has_orders(findings: Iterable[Finding]) -> bool:
    """True if some of the text to cut was read, and is an order."""
    return any(f.action is Action.CUT and f.rule not in _WHY for f in findings)


def leaves_enough(original: JsonObject, left: JsonObject) -> bool:
    """True if most of the text of a result is left next to the lines."""
    return TEXT_SHARE * _text_chars(left) >= _text_chars(original)


def _text_chars(message: JsonObject) -> int:
    return sum(
        len(LINE.sub("", text))
        for path, text in walk_strings(message.get("result"))
        if path and path[0] != "_meta" and path[-1] not in _NO_TEXTS
    )
