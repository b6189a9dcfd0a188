"""Orders in results, and the calls that carry them out: who ordered this act?

A sentence that tells its reader to do something, names an act and holds a value of a later call
(an address, an account, a link, an id) has ordered that call, unless the client named the value
before. Nothing is worked out when a result comes: a call's few values are looked up in what came
back, and only the sentences around them are read. That also reads calm orders, which no rule over
texts can tell from documents.

Knows verbs, sentences and values; detect.flows.ledger asks, and the policy decides.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from typing import NamedTuple

from pipeguard.detect.flows.leak import ORDERED, Leak, OrderPassage
from pipeguard.detect.flows.order_sentences import (
    SENTENCE_END,
    STRONG,
    OrderStrength,
    rate_sentence,
)
from pipeguard.detect.flows.tool_labels import ToolAct
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.detect.words import acts as tables
from pipeguard.detect.words import tools as lists
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Number
from pipeguard.unicode.name_words import name_words

# --- the values of a call ---------------------------------------------------------------------

MOST_VALUES = 24  # of a call that are looked up
VALUE_CHARS = 3, 160  # of one
MOST_STRINGS = 64  # of a call that are read
READ_CHARS = 4096  # of one of them
KEY_CHARS = 100  # of the name of one
DATA_CHARS = 8  # of an address that is visited: fewer say nothing

_TIME = lazy_regex(r"[\d\s:.,/TZ+-]*|\d{4}-\d{2}-\d{2}.{0,20}")
_COMMANDS = lists.CODE
_NO_LETTER = lazy_regex(r"[^a-z0-9]+")
_GROUPED = lazy_regex(r"[a-z]{2}\d{2}[a-z0-9]{8,30}|\d{7,34}")
# Commands that send, delete, publish or let somebody in; not those that install or build.
_ACTS = lazy_regex(
    r"(?<![\w-])(?:rm|rmdir|unlink|shred|dd|truncate|mv|chmod|chown|scp|rsync|sftp|ftp|nc|ncat|sendmail"
    r"|mail|mutt|ssh-copy-id|useradd|adduser|usermod|passwd|crontab|twine|publish|upload|push"
    r"|remote (?:add|set-url)|delete|destroy|drop|revoke|--delete[\w-]*|--data[\w-]*|--form"
    r"|--upload-file|-[dFT])(?![\w-])|authorized_keys|[|]\s{0,4}(?:ba|z|da)?sh\b"
)
# Outside the folder where a command runs.
_PATH = lazy_regex(r"(?<![\w./~-])(?:~|/)(?:/?[\w.@-]{1,64}){1,12}/?")


class Value(NamedTuple):
    """A value that a call was given.

    Attributes:
        text: in small letters; of a number in groups, its letters and digits alone.
        is_strong: True where no two texts share it by chance.
        is_grouped: True for the number of an account or telephone, which is often in groups.
    """

    text: str
    is_strong: bool
    is_grouped: bool = False

    def occurs(self, small: str, letters: Callable[[], str]) -> bool:
        """True if a text has it: given in small letters, and by its letters and digits alone."""
        return self.text in small or (self.is_grouped and self.text in letters())


def find_values(arguments: JsonValue, acts: ToolAct) -> list[Value]:
    """The values of a call that a text could have given it: no amounts, dates and prose.

    Of what is only sent, those that say where: a comment goes to the ticket that it is about.
    """
    strong: dict[str, bool] = {}
    weak: dict[str, None] = {}
    to_whom = lists.RECIPIENT | tables.persons
    for keys, text in _leaves(arguments):
        if keys & tables.quantities and not keys & tables.ids:
            continue
        if keys & _COMMANDS and not _ACTS.search(text, 0, READ_CHARS):
            continue
        is_prose = bool(keys & _COMMANDS or (keys & tables.prose and not keys & tables.ids))
        names_it = not is_prose and bool(acts & ~ToolAct.SEND or keys & to_whom)
        read = _without_data(text) if acts is ToolAct.VISIT else text
        for match in STRONG.finditer(read, 0, READ_CHARS):
            if names_it or match["address"]:
                bare = _NO_LETTER.sub("", match[0].lower())
                is_grouped = _GROUPED.fullmatch(bare) is not None
                strong[bare if is_grouped else match[0].lower().rstrip(".:!?/")] = is_grouped
        if keys & _COMMANDS:
            weak |= dict.fromkeys(path[0].lower() for path in _PATH.finditer(text, 0, READ_CHARS))
        if names_it and _is_name(keys, text):
            weak[text.strip().lower()] = None
    values = [
        Value(text, is_strong=True, is_grouped=is_grouped) for text, is_grouped in strong.items()
    ]
    values += [Value(text, is_strong=False) for text in weak if text not in strong]
    return values[:MOST_VALUES]


def _without_data(address: str) -> str:
    """The part of an address that is visited before what may be data; empty without any."""
    where, sign, data = address.partition("?")
    return where if sign and len(data) >= DATA_CHARS else ""


def _is_name(keys: frozenset[str], text: str) -> bool:
    """True for an argument that names something: an id, or few words that are not common."""
    if keys & tables.ids and text.isdigit():
        return True
    is_short = VALUE_CHARS[0] <= len(text) <= VALUE_CHARS[1]
    is_plain = is_short and not keys & _COMMANDS and not _TIME.fullmatch(text)
    return is_plain and text.strip().lower() not in tables.common


def _leaves(value: JsonValue) -> Iterator[tuple[frozenset[str], str]]:
    """The first strings and numbers of arguments, with the words of the nearest name."""
    left: deque[tuple[frozenset[str], JsonValue]] = deque([(frozenset(), value)])
    for _ in range(MOST_STRINGS):
        if not left:
            return
        keys, item = left.popleft()
        room = MOST_STRINGS - len(left)
        if isinstance(item, dict):
            pairs = islice(item.items(), max(0, room))
            left += [(frozenset(name_words(key[:KEY_CHARS])), inner) for key, inner in pairs]
        elif isinstance(item, list):
            left += [(keys, inner) for inner in item[: max(0, room)]]
        elif isinstance(item, str | Number):
            yield keys, str(item)


# --- orders --------------------------------------------------------------------------------

AROUND_CHARS = 400  # of a value that are read, before and after it
SENDER_CHARS = 120  # before it, that may say that it is who the text is from
MOST_PLACES = 4  # of a value in one result
_BY_COMMAND = ToolAct.SEND | ToolAct.PAY | ToolAct.DELETE | ToolAct.SHARE | ToolAct.CHANGE
PASSAGE_CHARS = 1200  # of an order, before and after its sentence


class FoundOrder(NamedTuple):
    """An order that a call carries out.

    Attributes:
        is_certain: True where the sentence of the value asks for the act.
        acts: that its passage names.
        start: of the words around the value, in the text.
        end: of them.
    """

    is_certain: bool
    acts: ToolAct
    start: int
    end: int


_FIELD_BEFORE = lazy_regex(
    r"(?:[\"']\s*[:,\[]\s*|(?:^|\n)[ \t]*(?:[-*] )?[\w .()-]{1,32}:\s*|(?:^|\n)[ \t]*-\s*|[\t|]\s*"
    r"|(?:^|\n)[ \t]*)[\"'<]?\Z"
)
_FIELD_AFTER = lazy_regex(r"[\"'>]?[ \t]*(?:[,\n\t|}\])]|\Z)")
_SENDER = lazy_regex(
    r"(?:\b(?:from|sender|author|reply[-_ ]?to|reporter|creator|created_by"
    r"|requester|assignee|posted_by|user|submitter|login)\b)[\"']?\s*[:=]\s*[\"'{\[]?[^\n{}]{0,60}\Z",
    re.IGNORECASE,
)


def find_order(
    text: str, places: Iterable[tuple[int, int]], value: Value, acts: ToolAct
) -> FoundOrder | None:
    """Find an order in a text that gives a value of a call and names its act.

    Args:
        text: the strings of a result, with their lines.
        places: of the value in it.
        value: the value.
        acts: of the tool that is called.

    Returns:
        None also where the value is who the text is from: to answer somebody is no order.
    """
    found: FoundOrder | None = None
    for start, end in places:
        if acts is ToolAct.SEND and _SENDER.search(text[max(0, start - SENDER_CHARS) : start]):
            return None
        found = found or _read_around(text, (start, end), value, acts)
    return found


def find_places(small: str, value: Value) -> Iterator[tuple[int, int]]:
    """The first places of a value in a text, in small letters, as words of its own."""
    places = _grouped_places if value.is_grouped else _plain_places
    yield from islice(places(small, value.text), MOST_PLACES)


def _plain_places(small: str, word: str) -> Iterator[tuple[int, int]]:
    start = small.find(word)
    while start >= 0:
        end = start + len(word)
        is_begun = start > 0 and _joins(small[start - 1], word[0])
        if not is_begun and not (end < len(small) and _joins(word[-1], small[end])):
            yield start, end
        start = small.find(word, end)


def _joins(left: str, right: str) -> bool:
    return left.isascii() and left.isalnum() and right.isascii() and right.isalnum()


def _grouped_places(small: str, letters: str) -> Iterator[tuple[int, int]]:
    spelt = r"[\s.()/-]{0,2}".join(letters)
    for match in re.finditer(rf"(?<![a-z0-9]){spelt}(?![a-z0-9])", small):
        yield match.span()


def _to_small(text: str) -> str:
    """A text in small letters, of the same length."""
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def _holds_as_field(text: str, value: Value) -> bool:
    """True where a text has a value as all of a field, which its program wrote."""
    return any(
        _is_field(text[max(0, start - AROUND_CHARS) : start], text[end : end + 8])
        for start, end in find_places(_to_small(text), value)
    )


def _is_field(before: str, after: str) -> bool:
    return _FIELD_BEFORE.search(before) is not None and _FIELD_AFTER.match(after) is not None


def _read_around(
    text: str, place: tuple[int, int], value: Value, acts: ToolAct
) -> FoundOrder | None:
    """Find an order in the sentence around a value, or beside it where the value is no word."""
    start, end = place
    low, high = max(0, start - AROUND_CHARS), min(len(text), end + AROUND_CHARS)
    ends = [match.span() for match in SENTENCE_END.finditer(text, low, high)]
    before = [(low, low), (low, low), *(each for each in ends if each[1] <= start)]
    after = [*(each for each in ends if each[0] >= end), (high, high), (high, high)]
    first, last = before[-1][1], after[0][0]
    rated = acts | _BY_COMMAND if acts & ToolAct.RUN else acts
    strength = rate_sentence(text[first:last], rated)
    if strength is OrderStrength.NONE:
        beside = text[before[-2][1] : before[-1][0]], text[after[0][1] : after[1][0]]
        is_word = not value.is_strong and value.text.replace(" ", "").isalpha()
        if is_word or not any(rate_sentence(each, rated) for each in beside):
            return None
    # What a text tells to run or to open is a coding agent's daily bread.
    is_grave = bool(acts & ~(ToolAct.RUN | ToolAct.VISIT))
    passage = text[max(0, first - PASSAGE_CHARS) : last + PASSAGE_CHARS]
    is_certain = value.is_strong and is_grave and strength is OrderStrength.ASKED
    return FoundOrder(is_certain, _find_passage_acts(passage), low, high)


def _find_passage_acts(passage: str) -> ToolAct:
    """The acts that the sentences of a passage order."""
    found, at = ToolAct.NONE, 0
    for first, last in [*(end.span() for end in SENTENCE_END.finditer(passage)), (None, 0)]:
        sentence, at = passage[at:first], last
        for act in ToolAct:
            if not act & found and rate_sentence(sentence, act) is OrderStrength.ASKED:
                found |= act
    return found


# --- calls that carry out orders --------------------------------------------------------------

MOST_ORDERS = 16  # that are remembered once a call carried out one


class CarriedOrder(NamedTuple):
    """An order of a result that a call carried out, or would have.

    Attributes:
        result: that gave it.
        order: the order.
        passage: its words, in the strings of the result.
        acts: of the call.
    """

    result: ToolResult
    order: FoundOrder
    passage: str
    acts: ToolAct

    def leak(self) -> Leak:
        """The report to the policy."""
        name = self.result.tool.name
        note = (
            f"a text in a result of {name!r} says to do this, and the client had not named this"
            " value. Ask the user whether to do what the text says"
        )
        confidence = Confidence.HIGH if self.order.is_certain else Confidence.MEDIUM
        passage = OrderPassage(self.result.strings(), self.order.start, self.order.end)
        return Leak(ORDERED, Severity.HIGH, confidence, name, note, passage)


class ActingCall:
    """A call of a tool with consequences, looked up in what came back.

    Args:
        acts: of the tool.
        arguments: of the call.
        earlier: gives what the client said before, in small letters.
    """

    def __init__(self, acts: ToolAct, arguments: JsonValue, earlier: Callable[[], str]) -> None:
        self._acts = acts
        self._earlier = cache(earlier)
        self._earlier_letters = cache(lambda: _NO_LETTER.sub("", self._earlier()))
        self._values = find_values(arguments, acts)

    def find_order(self, results: Sequence[ToolResult]) -> CarriedOrder | None:
        """Find the surest order that the call carries out, of those of the latest result first."""
        likely: CarriedOrder | None = None
        for result in reversed(results) if self._values else ():
            if not self._shares_any(result) or not (new := self._new_values(result)):
                continue
            text = result.strings()
            small = _to_small(text)
            for value in new:
                found = find_order(text, find_places(small, value), value, self._acts)
                if found is None:
                    continue
                passage = " ".join(text[found.start : found.end].split())
                carried = CarriedOrder(result, found, passage, self._acts)
                if found.is_certain and not _is_field_anywhere(value, results):
                    return carried
                likely = likely or carried._replace(order=found._replace(is_certain=False))
        return likely

    def _shares_any(self, result: ToolResult) -> bool:
        """True if a result has a value of the call. A loop takes half the time of `any`."""
        small = result.small()
        for value in self._values:
            if value.text in small or (value.is_grouped and value.text in result.letters()):
                return True
        return False

    def _new_values(self, result: ToolResult) -> list[Value]:
        """The values of the call that a result has, and the client had not named."""
        small = result.small()
        return [
            value
            for value in self._values
            if value.occurs(small, result.letters)
            and not value.occurs(self._earlier(), self._earlier_letters)
        ]

    def find_part(self, carried: Iterable[CarriedOrder]) -> CarriedOrder | None:
        """Find an order that was carried out before, of which this call is another part.

        Its passage names the act, and gives a value of the call; or, where no earlier call did the
        same, the values of the call are in the same result, or it has none.
        """
        for each in carried:
            if not each.order.acts & self._acts:
                continue
            passage, small = each.passage.lower(), each.result.small()
            letters = partial(_NO_LETTER.sub, "", passage)
            if any(value.occurs(passage, letters) for value in self._values):
                return each
            is_new = not each.acts & self._acts
            if is_new and (
                not self._values or any(v.occurs(small, each.result.letters) for v in self._values)
            ):
                return each
        return None


def _is_field_anywhere(value: Value, results: Iterable[ToolResult]) -> bool:
    return any(
        _holds_as_field(result.strings(), value)
        for result in results
        if value.occurs(result.small(), result.letters)
    )
