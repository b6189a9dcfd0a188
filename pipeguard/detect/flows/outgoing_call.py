"""An outgoing call in all its readings, and the parts of results in it.

Knows no rules: detect.flows.ledger decides how much of which result may leave.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache, cached_property
from heapq import nlargest
from itertools import chain
from typing import TYPE_CHECKING

from pipeguard.detect.flows.overlap import (
    PIECE_CHARS,
    Overlap,
    SearchBudget,
    find_held,
    find_shared,
    in_pieces,
    letters,
    list_probes,
    pieces,
    rows,
    shingles,
    squeeze,
)
from pipeguard.detect.flows.people_rows import (
    TakenRows,
    count_taken,
    plain_digits,
    read_items,
    read_sent,
)
from pipeguard.detect.flows.readings import (
    LONG_BYTES,
    WRAPPED,
    find_part,
    list_apart,
    list_readings,
)
from pipeguard.detect.flows.secret_values import decode_digits
from pipeguard.detect.flows.text_values import (
    find_digests,
    find_mailboxes,
    find_urls,
    list_names,
    list_tokens,
)
from pipeguard.detect.flows.tool_labels import Label, Tool
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.detect.text.decoders import common_prefix
from pipeguard.detect.words import word_set
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Number, walk_texts, walk_values
from pipeguard.records import NamedTuple
from pipeguard.unicode.name_words import words_of_any_script

if TYPE_CHECKING:
    from pipeguard.detect.flows.orders import ClientWords

MOST_NEEDLES = 64  # looked up for one call
MOST_READINGS = 8  # decoded from it
ANY_BYTES = 2**40  # more than a search of short texts can take
FEW_MAILBOXES = 3  # in a text, any of which an answer may go to
MOST_ROWS = 2**13  # of a call that are looked up: more take longer than to read all results
CODE_CHARS = 5  # of the shortest code, which has a digit
ROW_CHARS = 32  # of about eight words that are apart
LONG_LETTERS = 5  # of a word
MOST_PAIRED = 512  # words of a call
TORN_DIGITS = 6  # of a code that other text may divide: fewer are sent in a row by chance

TYPES = word_set("type fill press input")  # in the name of a tool that types into a page
_DIGITS = lazy_regex("[0-9]+")
_VALUE = lazy_regex(r"[\w%+-]{1,2048}")  # that may be a piece of an encoded one
_SHORT_WORD = lazy_regex(r"(?<![\w/+])[\w/+]{7,16}={0,2}(?![\w/+])", re.ASCII)
_LONG_WORD = lazy_regex(rf"[^\s\"'<>()\[\]]{{{LONG_BYTES},}}")


class Call:
    """The text sent to a tool, in all its readings.

    Attributes:
        tool: the called tool.
        about: the short values of the arguments that name its target.
        opened: the web addresses that it only requests.
        find_likely: lists the results that may have one of some values; None if all may.
        secretive: results with secrets that it may contain.
        recipients: the mail addresses and telephone numbers that receive it.
        text: the strings of the arguments.
        value: the arguments.
        plain: the letters of this text.
        joined: the longest values of earlier calls as one text, and with that of this call.
    """

    def __init__(
        self,
        tool: Tool,
        text: bytes,
        read_said: Callable[[], Sequence[ClientWords]],
        about: frozenset[str],
        opened: frozenset[str] = frozenset(),
    ) -> None:
        """Read a call.

        Args:
            tool: the called tool.
            text: the strings of the arguments.
            read_said: returns the client's own earlier words.
            about: the short values of the arguments that name its target.
            opened: the web addresses that it only requests.
        """
        self.tool = tool
        self.about = about
        self.opened = opened
        self.recipients: Collection[str] = ()
        self._said = read_said = cache(read_said)
        self._before = ""
        self._budget = SearchBudget()
        self.text = text.decode("utf-8", "ignore")
        self.plain = letters(self.text)
        self.joined = "", ""
        self._others: list[str] = []
        self._held: defaultdict[Kind, dict[ToolResult, list[int]]] = defaultdict(dict)
        # The client's words grow long after some calls: ask only for values that are in a result.
        self.is_new = cache(lambda value: not any(value in each.text for each in read_said()))
        self._taken: dict[ToolResult, TakenRows] = {}
        self.value: JsonValue = None
        self._values: dict[Kind, list[str]] = {}
        self.find_likely: Callable[[list[str]], list[ToolResult]] | None = None
        self.secretive = set[ToolResult]()

    @cached_property
    def readings(self) -> list[str]:
        """The arguments as they are, and all their encoded parts."""
        return list_readings(self.text.encode())

    @cached_property
    def squeezed_texts(self) -> list[str]:
        """The readings, reduced to ASCII letters and digits."""
        return list(map(squeeze, self.readings))

    @cached_property
    def torn_text(self) -> str:
        """The first squeezed reading, appended to the text that was sent before."""
        return self._before + self.squeezed_texts[0]

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """The accounts, branches and addresses named in the call, by their letters only."""
        named = defaultdict[str, list[str]](list)
        for name in _each_once(list_names(self.small)):
            named[letters(name)].append(name)
        return named

    @cached_property
    def small(self) -> str:
        """Its text in small letters, with single spaces."""
        return " ".join(self.text.lower().split())

    def values(self, kind: Kind) -> list[str]:
        """The values of a kind, each once."""
        if kind not in self._values:
            self._values[kind] = [*dict.fromkeys(kind.list_values(self))]
        return self._values[kind]

    @cached_property
    def readings_of_probes(self) -> dict[str, list[int]]:
        """For each probe, the numbers of the readings that contain it."""
        numbers = defaultdict[str, list[int]](list)
        for number, text in enumerate((*self.letters, *self.apart)):
            for probe in list_probes(text):
                numbers[probe].append(number)
        return numbers

    @cached_property
    def letters(self) -> list[str]:
        """The letters of its plain text, and of its longest other readings."""
        return _letters([*self.readings, *list_readings(self.joined[1].encode())])

    @cached_property
    def apart(self) -> list[str]:
        """The letters of its text, without what is between the words."""
        return list_apart(self.text)

    @cached_property
    def _said_letters(self) -> str:
        return "".join([each.letters for each in self._said()])

    @cached_property
    def _clear(self) -> str:
        before = map(letters, list_readings(self.joined[0].encode()))
        return "\n".join((self._said_letters, self.plain, *before))

    def follow(self, before: Sequence[str], others: list[str]) -> None:
        """Read it as the continuation of earlier calls; call this before other methods.

        Args:
            before: the texts of earlier calls that sent something.
            others: these texts, and those of calls that were stopped.
        """
        self._before = "".join(map(squeeze, before))
        if self.tool.labels & Label.SENDS:
            self._others = [*reversed(others)]
            found = [_VALUE.findall(text) for text in (*before, self.text)]
            if found[-1]:
                longest = [max(values, key=len) for values in found if values]
                begin = min(common_prefix(longest[0], value) for value in longest)
                values = [value[begin:] for value in longest]
                self.joined = "".join(values[:-1]), "".join(values)

    def find_taken(self, results: list[ToolResult]) -> set[ToolResult]:
        """Find the results from which any reading may have taken a part or a value."""
        kinds = _PASSAGES, _PAIRS, _WORDS, TOKENS
        found = {at for each in kinds for at in self._look_up(each, results)}
        found.update(each for each in results if any(self.count_taken(each)))
        if self.opened:
            found.update(each for each in results if any(map(each.has_address, self.opened)))
        return found | self._find_secrets(results)

    def _look_up(
        self, kind: Kind, results: list[ToolResult], budget: SearchBudget | None = None
    ) -> set[ToolResult]:
        """Find the results that have values of a kind, and remember these."""
        values = self.values(kind)
        if kind.read_text is ToolResult.small:
            values = [value.lower() for value in values]
        if values and len(results) > 1 and self.find_likely is not None:
            likely = {*self.find_likely(values)}
            results = [each for each in results if each in likely]
        texts = [kind.read_text(each) for each in results] if values else []
        held = find_held(values, texts, budget or self._budget)
        self._held[kind] |= {result: held.get(at, []) for at, result in enumerate(results)}
        return {results[at] for at in held}

    def find_new(self, kind: Kind, result: ToolResult) -> list[str]:
        """Find the values of a kind in a result that the client had not said before."""
        return [value for value in self.find_held(kind, result) if self.is_new(value)]

    def find_held(self, kind: Kind, result: ToolResult) -> list[str]:
        """Find the values of a kind in a result."""
        if result not in self._held[kind]:
            self._look_up(kind, [result])
        return [self.values(kind)[at] for at in self._held[kind][result]]

    def look_up_orders(self, results: list[ToolResult]) -> None:
        """Search texts written for a model for mentions of the call, all at once.

        These texts are short, and searches in other results must not use up their budget.
        """
        for kind in (ORDERED_NAMES, ORDERED_ROWS):
            self._look_up(kind, results, SearchBudget(ANY_BYTES))

    def count_taken(self, result: ToolResult) -> TakenRows:
        """Count the rows of a result in this call, of the table that most of them are from."""
        if result not in self._taken:
            taken = self._count_rows(result, ())
            if any(taken):
                taken = self._count_rows(result, read_sent(each.text for each in self._said()))
            self._taken[result] = taken
        return self._taken[result]

    def _count_rows(self, result: ToolResult, earlier: Collection[str]) -> TakenRows:
        labels = result.labels()
        if not labels & (Label.READS_PRIVATE | Label.READS_SECRET):
            return TakenRows()
        about_people: bool | None = bool(labels & Label.LISTS_PEOPLE) or result.has_records()
        if not labels & Label.TAKES_IN:  # mail has addresses of those who only wrote it
            about_people = about_people or None
        counted = (
            count_taken(table, self.items, earlier, about_people=about_people)
            for table in result.tables()
        )
        return max(counted, default=TakenRows())

    @cached_property
    def items(self) -> set[str]:
        """The words and facts in it, of which rows may consist."""
        numbers = (item for _, item in walk_values(self.value) if type(item) is Number)
        return read_sent((*self.readings, *walk_texts(self.value), *numbers))

    def _find_secrets(self, results: list[ToolResult]) -> set[ToolResult]:
        """Find the results whose secret values the call may contain.

        Only those with a row of letters of the call are read for secrets, which takes long; of a
        long call, all are. A password may have few letters, so rows with other signs count, too.
        """
        kinds = "one_time_secrets", "secrets", "named_secrets"  # known to be empty in most
        results = [r for r in results if any(r.values.get(kind, True) for kind in kinds)]
        if len(self.torn_text) + sum(map(len, self.readings)) > MOST_ROWS:
            self.secretive.update(results)
        elif results:
            budget = SearchBudget()
            signs = [
                row
                for text in self.readings
                for row in rows(text, PIECE_CHARS)
                if not row.isalnum()
            ]
            both = [*self._rows, *(row[::-1] for row in self._rows)]
            for wanted, form in ((both, squeeze), (signs, str)):
                held = find_held([*{*wanted}], [form(each.text()) for each in results], budget)
                self.secretive.update(results[at] for at in held)
            self.secretive.update(results if budget.is_spent else ())
        return {
            each
            for each in self.secretive
            if each.one_time_secrets()
            or any(map(self._may_complete, each.secrets()))
            or self.find_named(each)
        }

    def find_named(self, result: ToolResult) -> list[str]:
        """The values that a result calls secret by name, as they are in a reading."""
        named = [*dict.fromkeys(result.named_secrets())]
        held = find_held(named, self.readings, SearchBudget(ANY_BYTES))
        return [named[at] for at in {*chain.from_iterable(held.values())}]

    @cached_property
    def _rows(self) -> set[str]:
        """Rows of its letters and digits: a secret in it has one, or a code one with a digit."""
        sent = "\n".join((self.torn_text, *self.squeezed_texts[1:]))
        sent += f"\n{''.join(_DIGITS.findall(self._spread))}"
        codes = (row for row in rows(sent, CODE_CHARS) if not row.isalpha())
        return {*rows(sent, PIECE_CHARS), *codes}

    def shares(self, result: ToolResult, *, mentions: bool = True) -> Overlap:
        """Find its plain text in a result, without digests, or without all its words there."""
        rest = self.without(self.find_held(_WORDS if mentions else _DIGESTS, result))
        texts = rest.plain, *(rest.apart if mentions else ())
        source = result.letters()
        plain, *apart = (
            find_shared(each, source, self._said_letters, self._budget) for each in texts
        )
        if mentions:
            words = [word for table in result.tables() for word in table.split() if word[1:]]
            known = {*words}
            kept = "".join([word for word in self.words if word in known])
            apart.append(find_shared(kept, "".join(words), self._said_letters, self._budget))
        least = max(ROW_CHARS, plain.chars)  # in disguise, little is left as it is
        return max([plain, *(each for each in apart if each.longest >= least)])

    @cached_property
    def words(self) -> list[str]:
        """Its words, without single letters."""
        return [word for word in read_items(" ".join(words_of_any_script(self.text))) if word[1:]]

    def goes_back(self, result: ToolResult) -> bool:
        """True if it goes only to a result's own subject, or to mail addresses in the result."""
        is_same = self.tool.server == result.tool.server and set() < self.about <= result.about
        is_public = bool(self.tool.labels & Label.OUTSIDE)
        if not self.recipients or (is_public and not is_same):
            return is_same and not is_public
        listed = find_mailboxes(result.text())
        return set() < find_mailboxes(self.text) <= listed and len(listed) <= FEW_MAILBOXES

    def hides(self, result: ToolResult) -> int:
        """Count the letters of a result that are encoded here but were not in the result."""
        hidden = self._count_encoded(result)
        if not hidden:
            return 0
        words = sorted({*_LONG_WORD.findall(self.text)}, key=len, reverse=True)
        held = find_held(words, [result.text()], SearchBudget())
        rest = self.without(words[at] for at in held.get(0, ()))
        if self.joined[1].removeprefix(self.joined[0]) not in result.text():
            rest.joined = self.joined
        return hidden if rest is self else rest._count_encoded(result)

    def _count_encoded(self, result: ToolResult) -> int:
        probes = self.find_held(_PASSAGES, result)
        sharing = {number for probe in probes for number in self.readings_of_probes[probe]}
        texts = (self.letters[at] for at in sharing if 0 < at < len(self.letters))
        shared = (find_shared(text, result.letters(), self._clear, self._budget) for text in texts)
        return max((each.chars for each in shared), default=0)

    def count_continued(self, result: ToolResult) -> int:
        """Count the letters in a row of a result that it sends in turn with earlier calls.

        Each sends a part of a sentence, perhaps encoded, or behind words as in `part 2 of 8:`.
        """
        source = WRAPPED.sub(" ", result.strings()) if self._others else ""
        row = own = find_part(self.text, source)
        for text in self._others if own else ():
            part = find_part(text, source)
            both = part + row, f"{part} {row}", row + part, f"{row} {part}"
            row = next((each for each in both if part and each in source), row)
        return 0 if row == own else len(letters(row))

    def without(self, values: Iterable[str]) -> Call:
        """The call without some values."""
        text = self.text
        for value in values:
            text = text.replace(value, " ")
        if text == self.text:
            return self
        call = Call(self.tool, text.encode(), self._said, self.about)
        call.recipients = self.recipients
        call.secretive = self.secretive
        call._before = self._before
        call._others = self._others
        return call

    def takes(self, secret: str) -> bool:
        """True for a one-time secret of a result in any of its readings, whole or in pieces."""
        bare = squeeze(secret)
        if bare.isdigit():  # of few digits, some stand between words by chance
            gap = r"\D*" if len(bare) >= TORN_DIGITS else r"\W*"
            both = (rf"(?<!\d){gap.join(each)}(?!\d)" for each in (bare, bare[::-1]))
            return any(re.search(each, self._spread) for each in both)
        return self._may_complete(bare) and self.completes(bare)

    @cached_property
    def _spread(self) -> str:
        """All its values after those sent before, and its readings, with plain digits."""
        values = [each for _, each in walk_values(self.value) if isinstance(each, str)]
        decoded = map(decode_digits, _SHORT_WORD.findall(self.text))
        return plain_digits("\n".join((self._before, *values, *self.readings, *decoded)))

    def completes_new(self, bare: str) -> bool:
        """True if the call completes the value, and the client had not said it before."""
        return self._may_complete(bare) and self.completes(bare) and bare not in self._said_squeezed

    @cached_property
    def _said_squeezed(self) -> str:
        return squeeze("".join([each.text for each in self._said()]))

    def _may_complete(self, bare: str) -> bool:
        """False if the call has few pieces of a value: the usual case, and 100 times as fast."""
        if len(bare) < PIECE_CHARS:
            both = rows(f"{bare}\n{bare[::-1]}", CODE_CHARS)
            return bare.isalpha() or not both or not self._rows.isdisjoint(both)
        parts = pieces(bare)
        missing = {*parts}.difference(self._rows)
        if 5 * len(missing) <= 2 * len(parts):
            return True
        return self._rows.issuperset(pieces(bare[::-1]))

    def completes(self, bare: str) -> bool:
        """True if a squeezed value leaves with this call, whole or by the last of its pieces.

        This call is not blamed for parts that only earlier calls sent.
        """
        torn = self._before[1 - len(bare) :] + self.squeezed_texts[0] if len(bare) > 1 else ""
        if any(bare in text or bare[::-1] in text for text in (*self.squeezed_texts, torn)):
            return True
        # If all of it was sent before, this call has to repeat a part.
        was_sent = in_pieces(bare, self._before)
        repeats = not was_sent or any(piece in self.squeezed_texts[0] for piece in pieces(bare))
        return repeats and in_pieces(bare, self.torn_text)


def _each_once(values: Iterable[str]) -> list[str]:
    """Each value once, up to about MOST_NEEDLES."""
    ordered = [*dict.fromkeys(values)]
    return ordered[:: len(ordered) // MOST_NEEDLES + 1]


def _letters(texts: Iterable[str]) -> list[str]:
    """The letters of a plain text, and of its longest other readings."""
    first, *others = dict.fromkeys(map(letters, texts))
    return [first, *nlargest(MOST_READINGS, others, key=len)]


class Kind(NamedTuple):
    """A kind of values that a call and a result may both have.

    Attributes:
        list_values: lists those of a call.
        read_text: reads the text of a result; in small letters, so are the values.
    """

    list_values: Callable[[Call], list[str]]
    read_text: Callable[[ToolResult], str]


# Parts of letters: a result that shares a passage contains one.
_PASSAGES = Kind(lambda call: [*call.readings_of_probes], ToolResult.letters)
_DIGESTS = Kind(lambda call: find_digests(call.text), ToolResult.text)
# Two long words, one after the other without those between them.
_PAIRS = Kind(
    lambda call: [
        letters(one + other)
        for at, one in enumerate(call.words)
        for other in call.words[at + 1 : at + 6]
        if len(one) >= LONG_LETTERS <= len(other)
    ][:: len(call.words) // MOST_PAIRED + 1],
    ToolResult.letters,
)
# Digests, addresses of the web, and recipients.
_WORDS = Kind(
    lambda call: [*call.values(_DIGESTS), *find_urls(call.text), *call.recipients],
    ToolResult.text,
)
# Values that two texts do not share by chance.
TOKENS = Kind(lambda call: _each_once(list_tokens("\n".join(call.readings))), ToolResult.small)
# The parts that a text written for a model mentions: rows of a few words, and names.
ORDERED_ROWS = Kind(lambda call: _each_once(shingles(call.small)), ToolResult.addressed_part)
ORDERED_NAMES = Kind(lambda call: [*call.names], lambda result: letters(result.addressed_part()))
