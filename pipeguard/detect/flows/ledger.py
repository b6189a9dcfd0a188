"""Tracks results of one tool that leave through another: tool labels, and taint by value.

A tool is labelled by the abilities in its definition. The results of a tool that reads private
data, or takes in text that anybody may have written, are remembered for a while, in memory only.
Input for a tool that sends out, runs, keeps or undoes something is looked up in them, as it is and
decoded. All work is deferred until it is needed, so that recording a result is almost free.

All ledgers share their memory. A ledger that had to give way knows which tools gave the forgotten
results, and takes anything sent for part of them.

It cannot detect paraphrase, or data that crosses from one wrapped server to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING

from pipeguard.detect.flows import outgoing_call, overlap, text_values, tool_results
from pipeguard.detect.flows.leak import PRIVATE_OUT, SECRET_OUT, UNTRUSTED_ACTS, Leak
from pipeguard.detect.flows.ledger_memory import LedgerMemory, RememberedCalls, RememberedResults
from pipeguard.detect.flows.outgoing_call import MANY_NAMES, UNKNOWN, Call, KnownCall
from pipeguard.detect.flows.passages import Passages
from pipeguard.detect.flows.secret_values import begun_key, by_letters, last_values
from pipeguard.detect.flows.tool_labels import ACTS, CHANGES, Label, Tool
from pipeguard.detect.flows.tool_results import ForgottenResults, ToolResult
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.message import PlainOutline
from pipeguard.firewall.protocol.strict_json import parse_json, without_value
from pipeguard.unicode.name_words import name_words

if TYPE_CHECKING:
    from pipeguard.detect.flows.orders import CarriedOrder, ClientWords

# Limits of the memory.
RESULT_BYTES = 4 * 2**20  # of results, with their other data
MOST_RESULTS = 1000
DERIVED_BYTES = 16 * 2**20  # from results, for the next call
RESULT_SECONDS = 1800.0
REQUEST_BYTES = 2**18
MOST_ORDERS = 16  # carried out by a call, in whole or in part
PIECE_CHARS = 2048  # of one piece of a value that is encoded

ARGUMENT_BYTES = 2**16  # of one call's arguments that are looked up in the memory

# How much of a result may leave before it is a leak, in shared letters and digits.
COVERED_CHARS = 44  # of private text that goes to anybody
QUOTED_CHARS = 72  # and to a named recipient: answers quote the text they answer
MARKED_CHARS = 32  # of a text that says that it is not for everybody
HIDDEN_CHARS = 24  # of text that was encoded
ACTED_CHARS = 32  # of text that anybody may have written, and that is run
PASSAGE_CHARS = 24  # in a row, or else
PASSAGES_SHARE = 0.25  # of all that is sent
ORDERED_CHARS = 16  # of words that a text tells a model to use
MANY_TOKENS = 3  # a list of people, not only the recipient

_OUTWARD = Label.SENDS | Label.OUTSIDE


class Flows:
    """The recent calls and results of one server. Safe for any thread.

    One lock guards the memory; searches use a copy of the list.

    Args:
        memory: shared with other ledgers; None for one of its own.
        owner: the name of the client's token; may be empty.

    Attributes:
        owner: the same name.
        passages: those that were cut out of the results.
    """

    def __init__(self, memory: LedgerMemory | None = None, owner: str = "") -> None:
        self.owner = owner
        self.passages = Passages()
        self._memory = LedgerMemory() if memory is None else memory
        self._lock = Lock()
        self._forgotten = ForgottenResults()
        self._results = RememberedResults(MOST_RESULTS, RESULT_BYTES, RESULT_SECONDS)
        self._calls = RememberedCalls(REQUEST_BYTES)
        self._numbers = count()  # of requests and results, in the order in which they came
        self._orders: deque[CarriedOrder] = deque(maxlen=MOST_ORDERS)
        self._worked_out_bytes = 0  # of texts, as of the last count

    def part(self) -> Flows:
        """An empty ledger in the same memory."""
        return Flows(self._memory)

    def size(self) -> int:
        """Its approximate size in memory, in bytes."""
        with self._lock:
            results = self._results.bytes + self._worked_out_bytes
            return results + self._calls.size + self.passages.size_bytes

    def forget_derived(self) -> None:
        """Drop everything that can be computed again."""
        with self._lock:
            for result in self._results:
                result.forget()
                self._results[result] = b""
            self._worked_out_bytes = self._calls.derived_bytes

    def give_way(self) -> None:
        """Forget everything: while it matters, anything sent counts as part of it."""
        with self._lock:
            self._forgotten.add(self._results, RESULT_SECONDS)
            self._results.clear()
            self._calls.clear()
            self._orders.clear()
            self._worked_out_bytes = 0
        self.passages.clear()

    def record_result(
        self, tool: Tool, frame: bytes, now: float, about: frozenset[str] = frozenset()
    ) -> None:
        """Remember a result.

        Args:
            tool: that was called.
            frame: the whole answer.
            now: seconds on the session's clock.
            about: the short values of the call, from `text_values.short_values`.
        """
        frame = tool_results.drop_blobs(without_value(frame))  # a value takes ten times as much
        if len(frame) > RESULT_BYTES:
            return
        result = ToolResult(tool, frame, now, about)
        with self._lock:
            result.number = next(self._numbers)
            self._results.add(result, now)
            self._drop_orders()
        self._memory.note(self)

    def has_returned(self, text: str) -> bool:
        """True if a text came back unchanged from any tool."""
        host = text.partition("://")[2].partition("/")[0]
        return any(result.has_address(text) for result in self._find_likely([host]))

    def returned_secrets(self, *, all_kinds: bool) -> list[str]:
        """The returned secrets that work once, or those of all kinds."""
        kinds = ToolResult.all_secrets if all_kinds else ToolResult.one_time_secrets
        with self._lock:
            results = list(self._results)
        return [secret for result in results for secret in kinds(result)]

    def find_sources(self, text: str) -> frozenset[str]:
        """The short values of the calls that returned a text unchanged."""
        results = (each for each in self._find_likely([text]) if text in each.text())
        return frozenset[str]().union(*(each.about for each in results))

    def _find_likely(self, values: list[str], *, has_words: bool = False) -> list[ToolResult]:
        """The results that may have a value, the oldest first; all of them without C.

        Args:
            values: in any case, as they are in a text, or in its letters.
            has_words: True if a value counts only as a separate word.
        """
        with self._lock:
            results = self._results  # of which the newest are unread
            unread = [*takewhile(lambda each: not results[each], reversed(results))]
        read = {result: result.read() for result in unread}
        with self._lock:
            self._worked_out_bytes += self._results.note_read(read) if read else 0
            indexes = self._results.copy() if values else {}
        every, form, lower = [*indexes], overlap.native(), list(map(overlap.lower, values))
        if form is None or not values:
            return every
        return [every[at] for at in form.find_likely([*indexes.values()], lower, has_words)]

    def record_request(self, frame: bytes) -> None:
        """Remember a request that was forwarded: its content came from the client's side."""
        with self._lock:
            self._calls.add(next(self._numbers), without_value(frame))

    def record_passed(self, tool: Tool, frame: bytes) -> None:
        """Remember a forwarded call of a tool of consequence; empty if it holds a secret."""
        if tool.is_consequential:
            with self._lock:
                self._calls.add_passed(tool.key, without_value(frame))

    def passed_calls(self, tool: Tool) -> list[bytes] | None:
        """The last calls of a tool, the newest last; None if they may have been forgotten.

        A call that is too long, or holds a secret, is empty.
        """
        with self._lock:
            return self._calls.list_passed(tool.key)

    def join_key(self, call: str, texts: Sequence[str]) -> list[tuple[str, str]]:
        """Join the beginnings of keys in recent calls to the ends of the texts of a call."""
        begun, ends = begun_key(texts), last_values(texts)  # read before the lock is held
        with self._lock:
            return self._calls.join_key(call, begun, ends)

    def settle(self, call: str, *, went_on: bool) -> None:
        """Count the parts of a call as sent, or forget them: it never reached the server."""
        with self._lock:
            self._calls.settle(call, went_on=went_on)

    def leaks(
        self, tool: Tool, arguments: JsonValue, now: float = 0.0, known_call: KnownCall = UNKNOWN
    ) -> list[Leak]:
        """Look up a tool's input in earlier results.

        Args:
            tool: the called tool.
            arguments: of the call.
            now: seconds on the session's clock.
            known_call: facts already known about the call.
        """
        strings = known_call.strings or text_values.named_strings(arguments)
        bare, leaks = arguments, list[Leak]()
        with self._lock:
            of_any = tool.labels.meets(Label.SENDS) or self._results.taken_in
            has_sources = of_any and self._results.has_others(tool.key)
        if has_sources or self._forgotten:
            opened = text_values.find_opened(tool.labels, strings)
            known_call = known_call._replace(strings=strings, opened=opened)
            if tool.is_sink or tool.labels.meets(Label.OUTSIDE):
                bare = text_values.without_credentials(arguments)
            if tool.is_sink:
                leaks = self._looked_up(tool, bare, now, known_call)
        urls = [] if tool.labels.meets(Label.SENDS) else text_values.find_addresses(arguments)
        if urls and tool.stores:
            # Addresses that were read, unchanged, in files of the same server are left out.
            urls, server = [*dict.fromkeys(urls)], tool.server
            read = [r.text() for r in self._find_likely(urls) if r.tool.is_file_reader(server)]
            held = overlap.find_held(urls, read, overlap.SearchBudget())
            found = {at for numbers in held.values() for at in numbers}
            urls = [url for at, url in enumerate(urls) if at not in found]
        if urls:
            # A client that renders the tool's input requests the addresses in it.
            sender = tool._replace(labels=_OUTWARD)
            commands = [text for _, text in strings] if tool.labels.meets(Label.RUNS) else []
            posted = (data for text in commands for data in text_values.POSTED.findall(text))
            leaks += self._looked_up(sender, " ".join((*urls, *posted)), now, known_call)
        if not leaks and bare != arguments and tool.labels.meets(Label.OUTSIDE):
            # A credential may go into its own argument, but an address can be anybody's.
            used = self._looked_up(tool, arguments, now, known_call)
            leaks = [leak._replace(confidence=Confidence.MEDIUM) for leak in used]
        return leaks + (self._find_order(tool, arguments) if tool.acts else [])

    def _find_order(self, tool: Tool, arguments: JsonValue) -> list[Leak]:
        """Find the order that a call carries out, or a further part of one carried out earlier."""
        if not self._results:
            return []
        from pipeguard.detect.flows import orders  # most first calls do nothing

        call = orders.ActingCall(tool.acts, arguments, self._read_said)
        results = self._find_likely([each.text for each in call.values], has_words=True)
        with self._lock:
            carried = list(self._orders)
        if not results and not carried:
            return []
        found = call.find_order(results)
        if found is None:
            found = call.find_part(carried)
        else:
            with self._lock:
                if found not in self._orders:
                    self._orders.append(found)
                self._drop_orders()
        self._bound_derived()
        return [] if found is None else [found.leak()]

    def _drop_orders(self) -> None:
        """Forget the orders of results that are forgotten; under the lock."""
        for order in [each for each in self._orders if each.result not in self._results]:
            self._orders.remove(order)

    def _bound_derived(self) -> None:
        """Count the data derived by a call; if it is too much, drop all but the indexes."""
        with self._lock:
            is_much = sum(result.derived for result in self._results) > DERIVED_BYTES
            for result, index in self._results.items() if is_much else ():
                result.forget(len(index))
            derived = sum(result.derived for result in self._results)
            self._worked_out_bytes = self._calls.derived_bytes + derived
        self._memory.note(self)

    def concern(self, tool: Tool, outline: PlainOutline) -> bool:
        """True if remembered data may matter to a call, or something of it is kept; usually False.

        Args:
            tool: the called tool.
            outline: of the call.
        """
        with self._lock:
            if self._forgotten or self._calls.has_begun_key:
                return True
            has_any, has_others = bool(self._results), self._results.has_others(tool.key)
        if has_others and (outline.may_hold_address or tool.labels.meets(_OUTWARD)):
            return True
        is_judged = (has_any and tool.acts) or (has_others and tool.is_sink)
        return bool(is_judged and self.leaks(tool, parse_json(outline.arguments or b"null")))

    def _looked_up(
        self, tool: Tool, arguments: JsonValue, now: float, known_call: KnownCall
    ) -> list[Leak]:
        text = text_values.join_sent(arguments)[:ARGUMENT_BYTES]
        if tool.labels & Label.WRITES:
            if not text_values.names_obeyed_file(text):
                return []
            tool = tool._replace(labels=tool.labels | Label.KEEPS)
        leaks: list[Leak] = []
        if self._forgotten:
            chars = len(overlap.letters(text.decode("utf-8", "ignore")))
            with self._lock:
                leaks = self._forgotten.find_leaks(tool, chars, now)
        repeated = self._find_repeated(tool, text, known_call)
        with self._lock:
            known = self._results if tool.labels.meets(Label.SENDS) else self._results.addressed
            results = {*repeated, *(each for each in known if each.key != tool.key)}
        if not results:
            return leaks
        if any(map(text_values.is_outside, text_values.short_values(arguments))):
            tool = tool._replace(labels=tool.labels | Label.OUTSIDE)
        call = Call(tool, text, self._read_said, text_values.targets(arguments), known_call.opened)
        call.recipients = text_values.recipients(arguments)
        call.find_likely = self._find_likely
        self._follow(call, known_call.event)
        leaks += _leaks(call, sorted(results, key=attrgetter("number")), repeated)
        self._bound_derived()
        return leaks

    def _find_repeated(self, tool: Tool, text: bytes, call: KnownCall) -> list[ToolResult]:
        """The results of others, from outside, that a call which acts may repeat."""
        sent = text.decode("utf-8", "ignore") if tool.labels.meets(ACTS | Label.GUARDS) else ""
        letters, digests = overlap.letters(sent), text_values.digests(sent)
        results = self._find_likely([*overlap.list_probes(letters), *digests])
        if results:  # the longest string is often sent again
            said = "".join([each.letters for each in self._read_said()])
            longest = overlap.letters(max((each for _, each in call.strings), key=len, default=""))
            parts = [*overlap.list_new_probes(letters, longest, said), *digests]
            results = [*{*results}.intersection(self._find_likely(parts))]
        return [each for each in results if each.takes_in and each.key != tool.key]

    def _follow(self, call: Call, event: str) -> None:
        """Join a call to those that sent something earlier; of two concurrent calls, one is second.

        Remembers the end of the sent text and, by tool, the longest value.
        """
        sends = call.tool.labels.meets(Label.SENDS)
        text = call.text if sends else ""
        piece = text_values.longest_run(text)[:PIECE_CHARS]
        squeezed = overlap.squeeze(text)[-ARGUMENT_BYTES:]
        with self._lock:
            before = self._calls.list_sent(event)
            pieces = self._calls.add_sent(event, call.tool.key, squeezed, piece) if sends else []
        call.follow("".join(before))
        call.put_together(pieces)

    def _read_said(self) -> list[ClientWords]:
        """Read the client's words in the requests that were forwarded."""
        from pipeguard.detect.flows.orders import ClientWords  # for calls that act

        with self._lock:
            requests = list(self._calls.unread)
        new = [ClientWords.read(at, tool_results.join_request(frame)) for at, frame in requests]
        with self._lock:
            return self._calls.keep_words(requests, new)


def _leaks(call: Call, results: list[ToolResult], near: list[ToolResult]) -> Iterator[Leak]:
    addressed = {result for result in results if result.addressed_part()}  # written for a model
    labels = call.tool.labels  # asked here: each question takes a microsecond
    is_sent = bool(labels & Label.SENDS)
    could_obey = is_sent or not labels or bool(labels & CHANGES)
    obeyed = addressed if could_obey else set[ToolResult]()
    sources = [result for result in results if result.is_private()] if is_sent else []
    private = call.find_taken(sources) if sources else set[ToolResult]()
    repeated = {*near} - obeyed
    call.look_up_orders([*obeyed])
    likely = private | repeated | obeyed
    for result in (each for each in reversed(results) if each in likely) if likely else ():
        if result in private:
            yield from _private_leaks(call, result, has_orders=bool(addressed))
        if result in obeyed:
            yield from _orders_obeyed(call, result)
        elif result in repeated and call.shares(result, mentions=False).chars >= ACTED_CHARS:
            name = result.tool.name
            note = f"text from {name!r}, which anybody may have written, is run or kept"
            confidence = Confidence.HIGH if labels & Label.GUARDS else Confidence.MEDIUM
            yield Leak(UNTRUSTED_ACTS, Severity.HIGH, confidence, name, note, result)


def _private_leaks(call: Call, result: ToolResult, *, has_orders: bool) -> Iterator[Leak]:
    """Find private results that leave.

    Args:
        call: the call.
        result: the result.
        has_orders: True if some result tells a model what to do.
    """
    source, name, call = result.labels(), result.tool.name, call.leave_out_opened(result)
    looks_secret, is_named = _secrets(call, result)
    if looks_secret or is_named:
        is_known = is_named or bool(source & Label.READS_SECRET)
        note = f"a value that came back from {name!r} leaves through this call"
        confidence = Confidence.HIGH if is_known else Confidence.MEDIUM
        yield Leak(SECRET_OUT, Severity.CRITICAL, confidence, name, note, result)
        return
    if not source & (Label.READS_PRIVATE | Label.READS_SECRET):
        return
    text_and_people = (_private_text(call, result, has_orders=has_orders), _people(call, result))
    found = [confidence for confidence in text_and_people if confidence is not None]
    if found:
        note = f"text that came back from {name!r} leaves through this call"
        yield Leak(PRIVATE_OUT, Severity.HIGH, max(found), name, note, result)


def _private_text(call: Call, result: ToolResult, *, has_orders: bool) -> Confidence | None:
    """Rate how surely private text leaves; None if too little of it does."""
    source, labels = result.labels(), call.tool.labels
    hidden, clear = call.hides(result), call.shares(result)
    is_most = clear.chars >= PASSAGES_SHARE * len(call.letters[0])
    covered = hidden + clear.chars * (is_most or clear.longest >= PASSAGE_CHARS)
    tokens = call.find_new(outgoing_call.TOKENS, result)
    shared = [token for token in tokens if token not in call.recipients]
    if len(shared) >= MANY_TOKENS:
        covered += sum(map(len, shared))
        hidden += sum(len(token) for token in shared if token not in call.text)
    is_meant = bool(labels & Label.OUTSIDE and source & Label.READS_PERSONAL)
    names = len(call.find_new(outgoing_call.PEOPLE, result))
    is_list = is_meant and (len(shared) >= MANY_TOKENS or names >= MANY_NAMES)
    enough = COVERED_CHARS if labels & Label.OUTSIDE or has_orders else QUOTED_CHARS
    if call.goes_back(result) and not has_orders:
        covered, is_list = hidden, False  # a person named there already knows it
    elif result.is_marked():
        enough, is_meant = MARKED_CHARS, True
    elif not labels & Label.OUTSIDE and not source & Label.READS_PERSONAL and not has_orders:
        covered = hidden  # a file quoted in its own place
    if covered < enough and hidden < HIDDEN_CHARS and not is_list:
        return None
    is_sure = is_meant or hidden >= HIDDEN_CHARS or has_orders
    return Confidence.HIGH if is_sure else Confidence.MEDIUM


def _people(call: Call, result: ToolResult) -> Confidence | None:
    """Rate how surely facts about people leave, for a recipient who is not one of them."""
    text = result.text()
    is_told = bool(call.recipients) and all(each in text for each in call.recipients)
    if is_told or call.goes_back(result):
        return None
    names = len(call.find_new(outgoing_call.PEOPLE, result))
    figures = len(call.find_new(outgoing_call.FIGURES, result)) if names else 0
    records = min(names, figures) if figures and result.has_records() else 0
    contacts = len(call.find_new(outgoing_call.CONTACTS, result))
    is_public = bool(call.tool.labels & Label.OUTSIDE)
    is_list = contacts >= outgoing_call.MANY_CONTACTS or (
        is_public and min(names, figures) >= MANY_NAMES
    )
    if records > 1 or (records and is_public) or (is_list and result.has_contacts()):
        return Confidence.HIGH
    return Confidence.MEDIUM if records else None


def _secrets(call: Call, result: ToolResult) -> tuple[bool, bool]:
    """True if a leaving value looks like a secret; True if its result calls one a secret."""
    text, is_secret = result.text(), result.looks_secret()
    tokens = call.find_new(outgoing_call.TOKENS, result)
    looks_secret = any(token in text and is_secret(token) for token in tokens)
    is_secretive = result in call.secretive
    is_one_time = is_secretive and any(map(call.takes, result.one_time_secrets()))
    types = not outgoing_call.TYPES.isdisjoint(name_words(call.tool.name))  # perhaps where asked
    is_named = is_one_time and not (types and not call.tool.labels & Label.OUTSIDE)
    if is_secretive:
        completed = {*filter(call.completes_new, result.secrets())}
        looks_secret = looks_secret or bool(completed)
        is_named = is_named or any(map(call.is_new, call.find_named(result)))
        is_named = is_named or any(bare in completed for bare in by_letters(result.named_secrets()))
    return looks_secret or is_one_time, is_named


def _orders_obeyed(call: Call, result: ToolResult) -> Iterator[Leak]:
    """Find a call that follows a result's instructions to a model."""
    order = result.addressed_part()
    named = call.find_held(outgoing_call.ORDERED_NAMES, result)
    obeys = any(call.is_new(name) for letters in named for name in call.names[letters])
    rows = () if obeys else call.find_new(outgoing_call.ORDERED_ROWS, result)
    obeys = obeys or sum(map(len, rows)) >= ORDERED_CHARS
    if call.tool.labels & Label.GUARDS and not obeys:
        obeys = any(word in order for word in text_values.long_words(call.text))
    if obeys:
        note = f"{result.tool.name!r} gave a text that tells a model to do this"
        is_sent = bool(call.tool.labels & Label.SENDS)
        from pipeguard.detect.flows.order_sentences import is_forwarded  # for orders obeyed

        is_shown = is_sent and is_forwarded(order, call.text, call.recipients)
        confidence = Confidence.MEDIUM if is_shown else Confidence.HIGH
        yield Leak(UNTRUSTED_ACTS, Severity.HIGH, confidence, result.tool.name, note, result)
