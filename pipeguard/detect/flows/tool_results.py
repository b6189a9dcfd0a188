"""A result that came back from a tool, remembered for a while; its content is derived late.

Knows signs of private text and of text for a model; detect.flows.ledger interprets them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from math import inf
from typing import TypeVar, cast

from pipeguard.detect.flows import key_files, overlap, people_rows, secret_values
from pipeguard.detect.flows.leak import PRIVATE_OUT, UNTRUSTED_ACTS, Leak
from pipeguard.detect.flows.text_values import (
    NAME_READERS,
    decode_percent,
    find_mailboxes,
    find_phone_numbers,
    read_json,
    unescape,
)
from pipeguard.detect.flows.tool_labels import CHANGES, PRIVATE, Label, Tool, ToolKey
from pipeguard.detect.flows.value_places import plain
from pipeguard.detect.matching.confirm import occurs
from pipeguard.detect.text.document import MessageText
from pipeguard.detect.words import alternatives
from pipeguard.detect.words import tools as lists
from pipeguard.firewall.budgets import measure_text, size_of_all
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Number, walk_strings, walk_values
from pipeguard.native import find_native

_outline_frame = getattr(find_native("detect._outline"), "outline_frame", lambda *_: None)
OUTLINED_BYTES = 2**20
LONG_BYTES = 2**16
OBJECT_BYTES = 512  # of a result in memory without its frame
STRING_END = "\n\f\n"  # between its strings

BLOB_BYTES = 2**14  # of binary data in a frame, which has no meaning and takes room
_BLOB = lazy_regex(rb'("(?:data|blob)"\s{0,8}:\s{0,8}")[A-Za-z0-9+/=_-]{4096,}(?=")')
MARK_CHARS = 6000, 2000  # of a text that are read, at its beginning and at its end
FIELD_BYTES = 2**14  # of a frame that are read for names of fields
ADDRESSED_CHARS = 4000  # of a text, from the first words to a model

# What is written where a text is not for everybody.
_MARKS = alternatives(
    r"""
    confidential embargo(?:ed)? classified (?:top|trade)\x20secret proprietary
    off\x20the\x20record in\x20confidence need[-\x20]to[-\x20]know internal\x20use eyes\x20only
    must\x20not\x20leave visibility\W{1,4}private restricted\x20(?:to|access)
    private\x20(?:number|address|matter)
    (?:strictly|keep\x20(?:this|it|that)|stays?|kept)\x20(?:private|secret|internal|quiet|between)
    privileged under\x20seal not\x20a\x20word never\x20write
    meant\x20for\x20(?:you|your\x20company)\x20only
    (?:do\x20not|don't|must\x20not|may\x20not|never|not\x20to|not)\x20(?:be\x20)?(?:disclos|publish|shar(?:e|ing)|pass(?:ed)?\x20(?:it\x20)?on|forward(?:ed)?\b|distribut|circulat|leak|spread|known\b|tell\b|told\b|mention|writ(?:e|ten)\x20(?:his|her|their|the)\x20name)
    not\x20for\x20(?:distribution|publication|release|sharing|the\x20public)
    nobody\x20(?:may|must|should)
    """
)
_MARKED = lazy_regex(rf"\b(?:{_MARKS})", re.IGNORECASE)
# The same words where a document of software describes something.
_DESCRIBED = lazy_regex(
    r"""(?ix)\b(?:
    confidential\x20clients?(?:$|[):]|\x20(?:app|auth|flow|grant|type|credential))
    | classified\x20(?:by|into|as\x20(?:server|client|an?\x20(?:bug|error)))\b
    | proprietary\x20(?:api|code|driver|extension|format|licen[cs]e|protocol|software|system)
    | (?:you|users?|callers?|developers?)(?:\x20[a-z]{2,6})?\x20need\x20to\x20know
    | internal\x20user | (?:mainly|mostly|primarily)\x20for\x20internal\x20use
    | restricted\x20to\x20(?:allowed|certain|specific|the\x20(?:following|given|same))
    | (?:ipv?[46]?|rfc\x20?1918)\x20private\x20address | (?:does|did)\x20not\x20[a-z]+
    | (?:do\x20not|don't|never)\x20publish\x20[^.\n]{0,24}\b(?:workflows?|test\x20files
        |tests|to\x20npm)\b
    )""",
)
# The notice that a company puts below all its mails says nothing about this one.
_DISCLAIMER = lazy_regex(
    r"\b(?:this|the|any) (?:e-?mail|message|communication|transmission|information contained)\b"
    r"[^.\n]{0,160}\b(?:confidential|privileged|intended)\b.{0,700}",
    re.IGNORECASE | re.DOTALL,
)
_ACCOUNT = lazy_regex(r"\b[A-Z]{2}\d{2} ?(?:[A-Z0-9]{4} ?){3,7}[A-Z0-9]{0,3}\b")  # ISO 13616
# As JSON, CSV and tables write the name of a field.
_FIELD = r"""(?:[\s,;|{"'*]|\\[nrt"])(?:%s)\s?(?:\\?["'*])?\s?(?:[:,;|=]|\\[nrt])"""
# What a record says of a person that others need not know.
_RECORD_FIELDS = (
    rf"{lists.alternatives('RECORD_FIELDS')}|icd_?\d{{0,2}}|social_?security[a-z_]{{0,10}}"
    r"|nhs(?:_?n[a-z]{1,6})?|passport[a-z_]{0,10}|national_?id[a-z_]{0,8}"
    r"|(?:date_of_)?birth[a-z_]{0,8}"
)
_FACTS = lazy_regex((_FIELD % _RECORD_FIELDS).encode(), re.IGNORECASE)
# Names in the head of a mail or a ticket.
_MAIL_HEAD = alternatives(
    r"""
    (?:message|thread|conversation|mail|email|internal|account)[-_\x20]?id_? id_? uid key number
    from sender(?:[-_\x20](?:name|e?mail|address))? author reply[-_\x20]?to to recipients? cc bcc
    participants subject title date(?:[-_\x20]\w+)? sent(?:[-_\x20]\w+)? received(?:[-_\x20]\w+)?
    time(?:stamp)? created(?:[-_\x20]\w+)? updated(?:[-_\x20]\w+)? labels? tags folder mailbox
    flags status read unread priority importance attachments? has[-_\x20]attachments? size type
    reporter assignee requester submitter creator posted[-_\x20]by user login
    """
)
_HEAD_LINE = rf"[ \t>*_-]*(?:\d+[.)] )?({_MAIL_HEAD})[*_]*[ \t]*[:=](.*)"
_HEAD = lazy_regex(rf"(?im)^(?:{_HEAD_LINE}(?:\n[ \t]*- .*)*(?:\n|\Z))+")
_HEAD_FIELD = lazy_regex(rf"(?im)^{_HEAD_LINE}")
# Text for a model addresses it: `AI agents: …`, `Dear assistant, …`, `agents must …`.
_SPOKEN_TO = alternatives(
    r"""
    if\x20you(?:'re|\x20are)\x20(?:an?\x20)?(?:ai|llm|bot|agent|assistant|(?:language\x20)?model)\b
    [@](?:ais?|agents?|assistants?|bots?|copilot)\b
    (?:note|instruction|message|hint|task)s?\x20(?:for|to)\x20(?:the\x20|all\x20|an?\x20)?(?:ais?|llms?|agents?|assistants?|bots?|robots?|automations?|models?)\b
    for\x20(?:automated\x20|ai\x20)?(?:assistants|agents|bots|models)\x20only
    (?:assistant|agent|bot|ai|model)\x20(?:reads|sees|handles|processes|summari[sz]es)\x20(?:this|it)\b
    """
)
# Names of models and what runs them, and a noun behind them.
_ADDRESSEE = (
    rf"(?:{lists.alternatives('ADDRESSEES')}|(?:language )?models?|automat(?:ed|ic) \w+"
    r"|(?:processing|reading|parsing|reviewing) \w+)"
    rf"(?: (?:{lists.alternatives('KINDS_OF_ADDRESSEES')}))?"
)
# What an addressed model does. What an agent sees is told in any description of one; what it sees
# here is told to it.
_DOES = (
    r"(?:(?:reading|visiting|seeing|handling|processing)(?: [^.,:;\n]{1,40})?"
    r"|(?:that|who|which|with) [^.,:;\n]{1,50}"
    r"|(?:reads?|visits?|sees?)(?: (?:this|these|our|my)\b[^.,:;\n]{0,40})?)"
)
_ADDRESSED = lazy_regex(
    rf"(?<![\w-])(?:{_SPOKEN_TO}|{_ADDRESSEE}(?: {_DOES})?(?: (?:in|on|at|of|from) \w+)?"
    r"(?:\s?[,:]|\s(?:must|should|shall|have to|has to|needs? to|are to|is to|please)\b))",
    re.IGNORECASE,
)


def find_mark(text: str) -> str:
    """The words by which a text says, at its beginning or end, that it is not for everybody."""
    begin, end = MARK_CHARS
    read = f"{text[:begin]}\n{text[begin:][-end:]}"
    if occurs(_DISCLAIMER, read):
        read = _DISCLAIMER.sub(" ", read)
    mark = occurs(_MARKED, read) and _MARKED.search(_DESCRIBED.sub(" ", read))
    return mark[0] if mark else ""


def tells_of_people(text: str) -> bool:
    """True if a text begins with a telephone number, an account or several mail addresses."""
    begin = text[: MARK_CHARS[0]]
    has_number = bool(find_phone_numbers(begin)) or occurs(_ACCOUNT, begin)
    return has_number or len(find_mailboxes(begin)) > 1


def find_addressed(text: str) -> str:
    """The part of a text from the first words to a model on; empty if it has none."""
    match = _ADDRESSED.search(text) if occurs(_ADDRESSED, text) else None
    return text[match.start() : match.start() + ADDRESSED_CHARS] if match else ""


Derived = TypeVar("Derived")


def _derive_once(read: Callable[[ToolResult], Derived]) -> Callable[[ToolResult], Derived]:
    """Compute a value of a result when it is first needed, and count its bytes."""
    name = read.__name__

    @wraps(read)
    def derive(result: ToolResult) -> Derived:
        value = result.values.get(name)
        if value is None:
            value = result.values[name] = read(result)
            result.derived += _measure(value)
        return cast("Derived", value)

    return derive


def _measure(value: object) -> int:
    if isinstance(value, str):
        return measure_text(value)
    if isinstance(value, dict):
        return measure_text(*value, *value.values())
    return measure_text(*value) if isinstance(value, tuple) else 0


class ToolResult:
    """A frame that passed: bytes until its text is needed.

    Safe for any thread: two threads derive the same data.

    Attributes:
        tool: the called tool.
        frame: the whole answer.
        since: when it came, in seconds on the session's clock.
        number: among the requests and results of its ledger.
        about: the short values of the call.
        size: bytes that all of these take in memory.
        derived: bytes that derived data takes, about.
        values: derived data, by the names of the methods.
        takes_in: True if third parties may have written it.
        key: of the tool.
    """

    __slots__ = (
        "about",
        "derived",
        "frame",
        "key",
        "number",
        "since",
        "size",
        "takes_in",
        "tool",
        "values",
    )

    def __init__(self, tool: Tool, frame: bytes, since: float, about: frozenset[str]) -> None:
        self.tool = tool
        self.key = tool.key  # read for each call, of each result
        self.frame = frame
        self.since = since
        self.about = about
        self.size = OBJECT_BYTES + len(frame) + measure_text(tool.name)
        self.size += size_of_all(about) if about else 0
        self.derived = self.number = 0
        self.takes_in = tool.labels.meets(Label.TAKES_IN)  # asked for each call, of each result
        self.values: dict[str, object] = {}

    @_derive_once
    def is_marked(self) -> bool:
        """True if it says that it is not for everybody, and does not come from outside."""
        return not self.tool.labels & Label.OUTSIDE and find_mark(self.text()) != ""

    @_derive_once
    def labels(self) -> Label:
        """The abilities of its tool, and `private` if its text says so.

        A text does by a mark, or by saying how people are reached or paid.
        """
        labels = self.tool.labels
        is_public = labels & Label.OUTSIDE
        if self.is_marked() or (not is_public and tells_of_people(self.text())):
            labels |= Label.READS_PRIVATE | Label.READS_PERSONAL
        if any(map(key_files.is_key_file, self.about)):
            labels |= Label.READS_SECRET
        return labels

    @_derive_once
    def is_private(self) -> bool:
        """True if its tool, or its text, shows that it is not for everybody."""
        return bool(self.labels() & PRIVATE)

    def matters(self) -> bool:
        """True if it may be private, secret or an order; a long one is not read for that."""
        is_known = self.tool.labels is not Label.NONE or len(self.frame) > LONG_BYTES
        return is_known or bool(self.labels()) or any(self.all_secrets())

    @_derive_once
    def has_records(self) -> bool:
        """True if it has fields for facts about people that others need not know."""
        return occurs(_FACTS, self.frame[:FIELD_BYTES])

    @_derive_once
    def tables(self) -> tuple[str, ...]:
        """The tables in it."""
        return tuple(people_rows.list_tables(read_json(self.frame)))

    @_derive_once
    def text(self) -> str:
        """Its strings, with single spaces between all words."""
        return _join_words(self._lay_out())

    def _lay_out(self) -> bytes:
        outline = _outline_frame(self.frame, 0, NAME_READERS, OUTLINED_BYTES)
        return _lay_out(read_json(self.frame)) if outline is None else outline[4]

    def read(self) -> tuple[bytes, bool]:
        """The index of its rows, for `_overlap.c`; and True if it has a part for a model."""
        data = self._lay_out()
        form = overlap.native()
        text = _join_words(data)
        if not data.isascii() or plain(text) != text:  # a wide space is no letter, but has bytes
            spelt = overlap.letters(plain(text)), plain(text), overlap.squeeze(text), text
            data = overlap.lower("\n".join(dict.fromkeys(spelt))).encode()
        is_addressed = self.takes_in and find_addressed(text) != ""
        return b"-" if form is None else form.index_rows(data), is_addressed

    @property
    def source(self) -> str:
        """The name of its tool, and that of the server."""
        return f"{self.tool.name} of {self.tool.server}"

    def strings(self) -> str:
        """Its strings, with `STRING_END` between two; not cached, because few calls need them."""
        value = read_json(self.frame)
        body = value.get("result", value.get("error")) if isinstance(value, dict) else value
        texts = (text for path, text in walk_strings(body) if path[-1:] != ("type",))
        return STRING_END.join(text.replace("\f", " ") for text in texts)

    def fields(self) -> Iterator[tuple[Sequence[str | int], str]]:
        """Strings with paths: of structured content, texts that are JSON, and heads of mails.

        A head begins a text, perhaps below a line, or is like the first one: a mail's author can
        write `From:` in its body, too. One author may have written all of a file, or of what an
        address gave. Not cached.
        """
        labels = self.tool.labels
        is_of_one = labels & Label.OUTSIDE or self.tool.is_file_reader(self.tool.server)
        for path, text in walk_strings(read_json(self.frame)):
            if path[:2] == ("result", "structuredContent"):
                yield path, text
            elif text.lstrip()[:1] in {"{", "["} and not is_of_one:
                yield from walk_strings(read_json(text.encode("utf-8", "replace")))
        if is_of_one:
            return
        most = 2 if labels & Label.READS_PERSONAL else 1
        layout = ""
        text = self.strings()
        for head in _HEAD.finditer(text):
            fields = _HEAD_FIELD.findall(head[0])
            names = "\n".join(name for name, _ in fields)
            above = "" if layout else text[: head.start()]
            if "\n" in above.strip() or above.count("\n") > most * (len(fields) > 1):
                return
            layout = layout or names
            if names in layout:
                yield from (((name,), value) for name, value in fields)

    @_derive_once
    def small(self) -> str:
        """Its text in small letters."""
        return self.text().lower()

    @_derive_once
    def letters(self) -> str:
        """Only its letters and digits."""
        return overlap.letters(plain(self._lay_out().decode("utf-8", "ignore")))

    @_derive_once
    def addressed_part(self) -> str:
        """The part that is written for a model, in small letters; may be empty."""
        return find_addressed(self.text()).lower() if self.takes_in else ""

    def looks_secret(self) -> Callable[[str], bool]:
        """The test for secret tokens in it."""
        reads_secret = self.labels() & Label.READS_SECRET
        return secret_values.is_secret if reads_secret else secret_values.is_random

    @_derive_once
    def secrets(self) -> dict[str, str]:
        """Tokens that look like secrets by their letters and digits only."""
        secrets = secret_values.find_secrets(self.text(), self.looks_secret())
        return secrets | secret_values.key_by_letters(self.named_secrets())

    @_derive_once
    def named_secrets(self) -> tuple[str, ...]:
        """Values that it calls secret by name."""
        return tuple(secret_values.find_named_secrets(self.text()))

    @_derive_once
    def one_time_secrets(self) -> tuple[str, ...]:
        """The codes in it that work once, and the tokens of such links."""
        return tuple(secret_values.find_one_time_secrets(self.text()))

    def all_secrets(self) -> tuple[str, ...]:
        """One-time secrets, values that it calls secret, and values that look like a secret."""
        return *self.one_time_secrets(), *self.named_secrets(), *self.secrets().values()

    def has_address(self, address: str) -> bool:
        """True if it has an address: as it is, as JSON or HTML writes it, or in another one."""
        text = self.text()
        if address in text or address.partition("://")[2].partition("/")[0] not in text:
            return address in text
        unescaped = unescape(text)
        return address in unescaped or address in decode_percent(unescaped)

    def forget(self, kept_bytes: int = 0) -> None:
        """Drop all but the frame, small data, and so many bytes of an index."""
        values = list(self.values.items())  # at once: another thread may add to them
        self.values = {name: value for name, value in values if not _measure(value)}
        self.derived = kept_bytes


def _lay_out(value: JsonValue) -> bytes:
    return MessageText(value, keyed=False).data


def _join_words(data: bytes) -> str:
    """A text with single spaces between all words."""
    form = overlap.native()
    joined = None if form is None else form.join_words(data)
    return " ".join(data.decode("utf-8", "ignore").split()) if joined is None else joined


def drop_blobs(frame: bytes) -> bytes:
    """A long frame without its images and other binary data (MCP schema, `data` and `blob`)."""
    return _BLOB.sub(rb"\1", frame) if len(frame) > BLOB_BYTES else frame


def join_request(frame: bytes) -> str:
    """The strings of a request, and its numbers: an id is one or the other."""
    value = read_json(frame)
    numbers = (item for _, item in walk_values(value) if type(item) is Number)
    return " ".join((_join_words(_lay_out(value)), *numbers))


# --- forgotten results ------------------------------------------------------------------
# Results that a ledger forgot before their time: the tools that gave them, and until when.

MOST_TOOLS = 64  # all others are one
OTHER_TOOLS = "other tools"
LEAST_CHARS = 16  # letters and digits that may leave in all, or act, before it may be a leak


class ForgottenResults:
    """The tools whose results were forgotten while they still mattered.

    For one thread at a time: the lock of its ledger guards it.
    """

    def __init__(self) -> None:
        self._tools: dict[ToolKey, Label] = {}  # by `Tool.key`, with their abilities
        self._until = -inf
        self._passed_chars = 0  # since forgetting, in calls that were not stopped

    def __bool__(self) -> bool:
        return bool(self._tools)

    def add(self, results: Iterable[ToolResult], seconds: float) -> None:
        """Add forgotten results, each of which would have mattered for so many seconds."""
        for result in results:
            key = result.tool.key
            labels = result.tool.labels
            # A result that anybody can have is public; any other may have said that it is private.
            labels |= Label.NONE if labels & Label.OUTSIDE else Label.READS_PRIVATE
            if key not in self._tools and len(self._tools) >= MOST_TOOLS:
                key = "", OTHER_TOOLS
            self._tools[key] = self._tools.get(key, Label.NONE) | labels
            self._until = max(self._until, result.since + seconds)

    def find_leaks(self, tool: Tool, chars: int, now: float) -> list[Leak]:
        """Find the result that a call may repeat; None if it does not matter, or is too little.

        Args:
            tool: the called tool.
            chars: number of letters and digits in its input.
            now: seconds on the session's clock.
        """
        if now > self._until:
            self._tools.clear()
            self._passed_chars = 0
        labels = tool.labels & ~Label.OUTSIDE  # an address in a call tells nothing of its tool
        source = self._find_source(tool.key, labels)
        if source is None:
            return []
        if self._passed_chars + chars < LEAST_CHARS:
            self._passed_chars += chars
            return []
        rule, name = source
        confidence = Confidence.HIGH if labels else Confidence.MEDIUM  # known abilities
        note = f"what {name!r} gave is forgotten for want of memory, and this may be of it"
        return [Leak(rule, Severity.HIGH, confidence, name, note)]

    def _find_source(self, own: ToolKey, labels: Label) -> tuple[str, str] | None:
        """The rule for a call, and the name of the tool that gave it the text it may repeat."""
        others = [(key[1], given) for key, given in self._tools.items() if key != own]
        if labels & Label.SENDS:
            for name, given in others:
                if given & PRIVATE:
                    return PRIVATE_OUT, name
        if not labels or labels & (CHANGES | Label.SENDS):
            for name, given in others:
                if given & Label.TAKES_IN:
                    return UNTRUSTED_ACTS, name
        return None
