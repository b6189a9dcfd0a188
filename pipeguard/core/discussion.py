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
# Of attacks, frauds, examples, and of those who study or stop them, in twelve languages.
_TOPIC_WORDS = (
    r"prompt[ -]?injections?|jail ?breaks?|red[- ]?team\w*|adversar\w+|payloads?"
    r"|\battack\w*|malicious|phish\w+|\bscam\w*|classifiers?"
    r"|detect(?:s|ed|or|ors|ion)\b|test (?:suite|cases?|set)|\bexpected\b"
    r"|\bverdict\b|\bexamples?\b|\bsamples?\b|owasp|exploit\w*|\bthreats?\b"
    r"|guardrails?|saniti[sz]\w+|\bfilter\w*|vulnerab\w+|\bfraud\w*|\binjected\b"
    r"|untrusted|false (?:positives?|alarms?)|\bvictims?\b|researchers?|mitigat\w+|bounty"
    r"|post-?mortem|proofs? of concept|poison(?:ed|ing)|impersonat\w+|social engineering"
    r"|threat model|\bsmuggl\w+|\bbenchmarks?\b|data ?sets?|defen[cs]es?\b"
    r"|describe\(|angriff\w*|angreif\w+|beispiel\w*|betrüg\w*|opfer\b|forsch(?:er|ung)\w*"
    r"|schwachstelle\w*|gefälscht\w*|fehlalarm\w*|datens[aä]tz\w*|vergift\w+|schadhaft\w*"
    r"|attaqu\w+|exemples?|escroqu\w*|hameçonnage|victimes?\b|chercheu\w+|vulnérabilit\w+"
    r"|faux positifs?|malveillant\w*|empoisonn\w+|pirat(?:e|es|age)\b|filtres?\b|jeux? de données"
    r"|ataques?|atacante\w*|ejemplos?|exemplos?|estafa\w*|golpes?\b|v[íi]ctimas?\b|v[íi]timas?\b"
    r"|iny\w{0,2}ecci\w+|injeç\w+|investigador\w*|pesquisador\w*|envenen\w+|malicios\w+"
    r"|falsos? positivos?|fraude\w*|attacch?[io]\b|attaccant\w+|esemp[io]|iniezion\w+|truff\w+"
    r"|vittim[ae]\b|ricercator\w+|атак|злоумышлен|уязвим|исследовател|инъек|пример|мошен|жертв"
    r"|攻击|注入|攻撃|示例|例如|例えば|詐欺|诈骗|インジェクション|研究者|研究人员|漏洞|脆弱性|受害|被害"
    r"|공격|인젝션|주입|예시|사기|연구|취약|피해|هجوم|حقن|مثال|احتيال|الباحث|ثغر|ضحي"
    r"|हमले|इंजेक्शन|उदाहरण|धोख|शोधकर्ता|हमलावर|शिकार"
)
_TOPICS = re.compile(_TOPIC_WORDS.encode(), re.IGNORECASE)


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
