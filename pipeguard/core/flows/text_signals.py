"""What a text says of itself: that it speaks to a model, or that it is not for everybody."""

from __future__ import annotations

import re

from pipeguard.core.flows.text_values import mailboxes, phone_numbers
from pipeguard.core.lazy_regex import lazy_regex

MARK_CHARS = (6000, 2000)  # of a text that are read, at its beginning and at its end
ADDRESSED_CHARS = 4000  # of a text, from where it speaks to a model

# What is written where a text is not for everybody.
_MARKED = lazy_regex(
    r"\b(?:confidential|embargo(?:ed)?|classified|(?:top|trade) secret|proprietary|off the record"
    r"|in confidence|need[- ]to[- ]know|internal use|eyes only|must not leave"
    r"|visibility\W{1,4}private"
    r"|restricted (?:to|access)|private (?:number|address|matter)"
    r"|(?:strictly|keep (?:this|it|that)|stays?|kept) (?:private|secret|internal|quiet|between)"
    r"|privileged|under seal|not a word|never write|meant for (?:you|your company) only"
    r"|(?:do not|don't|must not|may not|never|not to|not) (?:be )?(?:disclos|publish|shar(?:e|ing)"
    r"|pass(?:ed)? (?:it )?on|forward(?:ed)?\b|distribut|circulat|leak|spread|known\b|tell\b|told\b"
    r"|mention|writ(?:e|ten) (?:his|her|their|the) name)"
    r"|not for (?:distribution|publication|release|sharing|the public)|nobody (?:may|must|should))",
    re.IGNORECASE,
)
# What a company has below each of its mails says nothing about this one.
_DISCLAIMER = lazy_regex(
    r"\b(?:this|the|any) (?:e-?mail|message|communication|transmission|information contained)\b"
    r"[^.\n]{0,160}\b(?:confidential|privileged|intended)\b.{0,700}",
    re.IGNORECASE | re.DOTALL,
)
_ACCOUNT = lazy_regex(r"\b[A-Z]{2}\d{2} ?(?:[A-Z0-9]{4} ?){3,7}[A-Z0-9]{0,3}\b")  # ISO 13616
# Whoever writes for a model speaks to it: `AI agents: …`, `Dear assistant, …`, `agents must …`.
_ADDRESSED = lazy_regex(
    r"(?<![\w-])(?:if you(?:'re| are) (?:an? )?(?:ai|llm|bot|agent|assistant|(?:language )?model)\b"
    r"|@(?:ais?|agents?|assistants?|bots?|copilot)\b"
    r"|(?:note|instruction|message|hint|task)s? (?:for|to) (?:the |all |an? )?(?:ais?|llms?|agents?"
    r"|assistants?|bots?|robots?|automations?|models?)\b"
    r"|for (?:automated |ai )?(?:assistants|agents|bots|models) only"
    r"|(?:assistant|agent|bot|ai|model) (?:reads|sees|handles|processes|summari[sz]es)"
    r" (?:this|it)\b"
    r"|(?:ais?|llms?|agents?|assistants?|chatbots?|bots?|robots?|copilots?|automations?"
    r"|(?:language )?models?|automat(?:ed|ic) \w+|(?:processing|reading|parsing|reviewing) \w+)"
    r"(?: (?:agents?|assistants?|models?|visitors?|shoppers?|readers?|users?|systems?|bots?"
    r"|tools?|software|programs?))?"
    r"(?: (?:reading|visiting|seeing|handling|processing)(?: [^.,:;\n]{1,40})?"
    r"| (?:that|who|which|with) [^.,:;\n]{1,50}"
    # What an agent sees is told in any description of one; what it sees here is told to it.
    r"| (?:reads?|visits?|sees?)(?: (?:this|these|our|my)\b[^.,:;\n]{0,40})?)?"
    r"(?: (?:in|on|at|of|from) \w+)?"
    r"(?:\s?[,:]|\s(?:must|should|shall|have to|has to|needs? to|are to|is to|please)\b))",
    re.IGNORECASE,
)


def is_marked(text: str) -> bool:
    """True where a text says, at its beginning or end, that it is not for everybody."""
    begin, end = MARK_CHARS
    read = f"{text[:begin]}\n{text[begin:][-end:]}"
    return _MARKED.search(_DISCLAIMER.sub(" ", read)) is not None


def tells_of_people(text: str) -> bool:
    """True where a text begins with a telephone number, an account or several mail addresses."""
    begin = text[: MARK_CHARS[0]]
    has_number = bool(phone_numbers(begin)) or _ACCOUNT.search(begin) is not None
    return has_number or len(mailboxes(begin)) > 1


def addressed(text: str) -> str:
    """The part of a text from where it speaks to a model on; empty where it never does."""
    match = _ADDRESSED.search(text)
    return text[match.start() : match.start() + ADDRESSED_CHARS] if match else ""
