"""Whether a text speaks about attacks rather than making one: its form, and the words around.

What shows an attack shows it as an example: in quotes, a fence of code, a cell of a table, a
literal of a program; and says in other words what it is about. Both together make a finding less
sure, and neither alone: whoever writes an order can put it in quotes, or call it an example.
Knows no rules; what follows from the answer is for core.scan.
"""

from __future__ import annotations

import re

BEFORE_BYTES, AFTER_BYTES = 2000, 800  # in which a text says what it is about
FENCE_BYTES = 6000  # before a match, in which a fence may have been opened
FEW_TOPICS, MANY_TOPICS = 2, 3  # different words that tell it

_FENCE = re.compile(rb"^[ \t]{0,3}(?:```|~~~)", re.MULTILINE)
_SHOWN = re.compile(
    rb"^[ \t]*(?:\||>|(?:[-*+]|[0-9]{1,2}[.)])[ \t]+[\"'`]|\\item|[\"'`]|\+?[ \t]*[\"'`(\[{]"
    rb"|(?:assert|expect|const|let|var|def|return|yield|it|test|describe)\b"
    rb"|\w+[ \t]*[=(:][ \t]*[\"'`\[(])"
)
_TOPICS = re.compile(
    rb"prompt[ -]?injections?|jail ?breaks?|red[- ]?team\w*|adversar\w+|payloads?|\battack\w*"
    rb"|malicious|phish\w+|\bscam\w*|classifiers?|detect(?:s|ed|or|ors|ion)\b"
    rb"|test (?:suite|cases?|set)|\bexpected\b|\bverdict\b"
    rb"|\bexamples?\b|\bsamples?\b|owasp|exploit\w*|\bthreats?\b|guardrails?|saniti[sz]\w+|\bfilter\w*"
    rb"|vulnerab\w+|\bfraud\w*|\binjected\b|untrusted|false (?:positives?|alarms?)|describe\("
    rb"|angriff\w*|angreif\w+|beispiel\w*|betr\xc3\xbcg\w*|attaqu\w+|exemples?|escroqu\w*|hame\xc3\xa7onnage"
    rb"|ataques?|ejemplos?|exemplos?|estafa\w*|golpes?\b|iny\w{0,2}ecci\w+|inje\xc3\xa7\w+|attacch?[io]\b|esemp[io]"
    rb"|iniezion\w+|truff\w+|\xd0\xb0\xd1\x82\xd0\xb0\xd0\xba|\xd0\xb8\xd0\xbd\xd1\x8a\xd0\xb5\xd0\xba"
    rb"|\xd0\xbf\xd1\x80\xd0\xb8\xd0\xbc\xd0\xb5\xd1\x80|\xd0\xbc\xd0\xbe\xd1\x88\xd0\xb5\xd0\xbd"
    rb"|\xe6\x94\xbb\xe5\x87\xbb|\xe6\xb3\xa8\xe5\x85\xa5|\xe6\x94\xbb\xe6\x92\x83|\xe7\xa4\xba\xe4\xbe\x8b"
    rb"|\xe4\xbe\x8b\xe5\xa6\x82|\xe4\xbe\x8b\xe3\x81\x88\xe3\x81\xb0|\xe8\xa9\x90\xe6\xac\xba|\xe8\xaf\x88\xe9\xaa\x97"
    rb"|\xe3\x82\xa4\xe3\x83\xb3\xe3\x82\xb8\xe3\x82\xa7\xe3\x82\xaf\xe3\x82\xb7\xe3\x83\xa7\xe3\x83\xb3"
    rb"|\xea\xb3\xb5\xea\xb2\xa9|\xec\x9d\xb8\xec\xa0\x9d\xec\x85\x98|\xec\xa3\xbc\xec\x9e\x85|\xec\x98\x88\xec\x8b\x9c|\xec\x82\xac\xea\xb8\xb0"
    rb"|\xd9\x87\xd8\xac\xd9\x88\xd9\x85|\xd8\xad\xd9\x82\xd9\x86|\xd9\x85\xd8\xab\xd8\xa7\xd9\x84|\xd8\xa7\xd8\xad\xd8\xaa\xd9\x8a\xd8\xa7\xd9\x84"
    rb"|\xe0\xa4\xb9\xe0\xa4\xae\xe0\xa4\xb2\xe0\xa5\x87|\xe0\xa4\x87\xe0\xa4\x82\xe0\xa4\x9c\xe0\xa5\x87\xe0\xa4\x95\xe0\xa5\x8d\xe0\xa4\xb6\xe0\xa4\xa8"
    rb"|\xe0\xa4\x89\xe0\xa4\xa6\xe0\xa4\xbe\xe0\xa4\xb9\xe0\xa4\xb0\xe0\xa4\xa3|\xe0\xa4\xa7\xe0\xa5\x8b\xe0\xa4\x96",
    re.IGNORECASE,
)


def topics(data: bytes, start: int, end: int) -> int:
    """How many different words around a stretch tell that the text is about attacks."""
    around = data[max(0, start - BEFORE_BYTES) : start] + b"\n" + data[end : end + AFTER_BYTES]
    return len({match[0].lower()[:6] for match in _TOPICS.finditer(around)})


def is_shown(data: bytes, start: int) -> bool:
    """True where what begins there stands as an example does: fenced, in a table, as a literal."""
    line = data[data.rfind(b"\n", 0, start) + 1 : start + 16]
    if _SHOWN.match(line):
        return True
    before = data[max(0, start - FENCE_BYTES) : start]
    return len(_FENCE.findall(before)) % 2 == 1


def is_example(data: bytes, start: int, end: int) -> bool:
    """True for a stretch that is shown in a text about attacks."""
    return is_shown(data, start) and topics(data, start, end) >= FEW_TOPICS
