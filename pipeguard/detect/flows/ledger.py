"""The recent calls and results of one client: what is put, what is read, and what is dropped.

The results of a tool that reads private data, or takes in text that anybody may have written, are
remembered for a while, in memory only. All work is deferred until it is needed, so that recording
a result is almost free. `leak_search` looks calls up in them.

All ledgers share their memory. A ledger that had to give way knows which tools gave the forgotten
results, and takes anything sent for part of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count, takewhile
from threading import Lock
from typing import TYPE_CHECKING

from pipeguard.detect.flows import (
    leak,
    ledger_memory,
    notes,
    overlap,
    passages,
    secret_values,
    tool_results,
)
from pipeguard.detect.flows.tool_labels import Label, Tool
from pipeguard.detect.flows.tool_results import ForgottenResults, ToolResult
from pipeguard.firewall.protocol.strict_json import without_value
from pipeguard.firewall.session.memory import ClientMemory, Note

if TYPE_CHECKING:
    from pipeguard.detect.flows.orders import CarriedOrder, ClientWords

# Limits of the memory.
RESULT_BYTES = 4 * 2**20  # of results, with their other data
MOST_RESULTS = 1000
DERIVED_BYTES = 16 * 2**20  # from results, for the next call
RESULT_SECONDS = 1800.0
REQUEST_BYTES = 2**18
MOST_ORDERS = 16  # carried out by a call, in whole or in part


class Flows:
    """The recent calls and results of one client. Safe for any thread.

    One lock guards the memory; searches use a copy of the list.

    Args:
        memory: shared with other ledgers; None for one of its own.
        owner: the name of the client's token; may be empty.

    Attributes:
        owner: the same name.
        passages: those that were cut out of the results.
        client: the memory of its client's ledgers; None if it is the only one.
    """

    def __init__(
        self,
        memory: ledger_memory.LedgerMemory | None = None,
        owner: str = "",
        client: ClientMemory | None = None,
    ) -> None:
        self.owner = owner
        self.client = client
        self.passages = passages.Passages()
        self._memory = ledger_memory.LedgerMemory() if memory is None else memory
        self._lock = Lock()
        self._forgotten = ForgottenResults()
        self._results = ledger_memory.RememberedResults(MOST_RESULTS, RESULT_BYTES, RESULT_SECONDS)
        self._calls = ledger_memory.RememberedCalls(REQUEST_BYTES)
        self._numbers = count()  # of requests and results, in the order in which they came
        self._orders: deque[CarriedOrder] = deque(maxlen=MOST_ORDERS)
        self._derived_bytes = 0  # of texts, as of the last count
        self._notes: list[Note] = []  # for the client's other ledgers

    def part(self) -> Flows:
        """An empty ledger in the same memory."""
        return Flows(self._memory)

    # --- what is put ------------------------------------------------------------------------

    def record_result(
        self, tool: Tool, frame: bytes, now: float, about: frozenset[str] = frozenset()
    ) -> None:
        """Remember a result.

        Args:
            tool: that was called.
            frame: the whole answer.
            now: seconds on the session's clock.
            about: the short values of the call, from `text_values.list_short_values`.
        """
        frame = tool_results.drop_blobs(without_value(frame))  # a value takes ten times as much
        if len(frame) > RESULT_BYTES:
            return
        result = ToolResult(tool, frame, now, about)
        with self._lock:
            self._add_result(result, now)
            if self.client is not None and (not self.client.is_remote or result.matters()):
                self._notes.append(notes.note_result(result))
        self._memory.note(self)

    def _add_result(self, result: ToolResult, now: float) -> None:
        """Remember a result; under the lock."""
        result.number = next(self._numbers)
        self._results.add(result, now, shares=1 if self.client is None else 2)
        self._drop_orders()

    def record_request(self, frame: bytes, tool: Tool | None = None) -> None:
        """Remember a request that was forwarded: its content came from the client's side.

        Args:
            frame: the request.
            tool: that it calls, for the client's other ledgers; None to keep it from them.
        """
        frame = without_value(frame)
        with self._lock:
            self._calls.add(next(self._numbers), frame)
            if tool is not None and self.client is not None and len(frame) <= REQUEST_BYTES:
                self._notes.append(notes.note_request(tool, frame))

    def take_notes(self) -> list[Note]:
        """Take what is noted for the client's other ledgers."""
        with self._lock:
            taken, self._notes = self._notes, []
        return taken

    def learn(self, note: Note, now: float) -> None:
        """Remember the note of another ledger of the client.

        Args:
            note: the note.
            now: seconds on the session's clock.
        """
        is_result, result = notes.read_note(note, now)
        if is_result:
            with self._lock:
                self._add_result(result, now)
            self._memory.note(self)
        else:
            self.record_request(note.frame)
            self.record_sent("", result.tool, tool_results.join_request(note.frame))

    def record_passed(self, tool: Tool, frame: bytes) -> None:
        """Remember a forwarded call of a tool of consequence; empty if it holds a secret."""
        if tool.is_consequential:
            with self._lock:
                self._calls.add_passed(tool.key, without_value(frame))

    def record_order(self, order: CarriedOrder) -> None:
        """Remember an order that a call carries out, as long as its result is."""
        with self._lock:
            if order not in self._orders:
                self._orders.append(order)
            self._drop_orders()

    def record_sent(self, event: str, tool: Tool, text: str) -> tuple[list[str], list[str]]:
        """Remember the text of a call if it sends; of two concurrent calls, one is second.

        Args:
            event: identifies the call until `settle`; if empty, it was forwarded.
            tool: the called tool.
            text: of the call.

        Returns:
            The texts of the last calls that sent, without this one; and with those stopped.
        """
        with self._lock:
            return self._calls.add_sent(event, text if tool.labels.meets(Label.SENDS) else "")

    def join_key(self, event: str, texts: Sequence[str]) -> list[tuple[str, str]]:
        """Join the beginnings of keys in recent calls to the ends of the texts of a call."""
        # Read before the lock is held.
        begun = secret_values.find_begun_key(texts)
        ends = secret_values.list_last_values(texts)
        with self._lock:
            return self._calls.join_key(event, begun, ends)

    def settle(self, event: str, *, went_on: bool) -> None:
        """Count the parts of a call as sent, or forget them: it never reached the server."""
        with self._lock:
            self._calls.settle(event, went_on=went_on)

    # --- what is read -----------------------------------------------------------------------

    @property
    def has_results(self) -> bool:
        """True if any result is remembered."""
        return bool(self._results)

    def may_concern(self, tool: Tool, *, is_outward: bool) -> bool | None:
        """True if anything remembered may matter to a call; None if only a search can tell.

        Args:
            tool: the called tool.
            is_outward: True if the tool sends, or the call may hold an address.
        """
        with self._lock:
            if self._forgotten or self._calls.has_begun_key:
                return True
            has_others = self._results.has_others(tool.key)
            if has_others and is_outward:
                return True
            may_order = self._results and tool.acts
            return None if may_order or (has_others and tool.is_sink) else False

    def has_sources(self, tool: Tool) -> bool:
        """True if a call of a tool may repeat something of another one."""
        with self._lock:
            may_repeat = tool.labels.meets(Label.SENDS) or self._results.taken_in
            has_others = may_repeat and self._results.has_others(tool.key)
            return bool(has_others or self._forgotten)

    def list_sources(self, tool: Tool) -> list[ToolResult]:
        """The results of other tools that a call of a tool may send or obey."""
        with self._lock:
            known = self._results if tool.labels.meets(Label.SENDS) else self._results.addressed
            return [result for result in known if result.key != tool.key]

    def find_likely(self, values: Sequence[str], *, has_words: bool = False) -> list[ToolResult]:
        """The results that may have a value, the oldest first; all of them without C.

        Args:
            values: in any case, as they are in a text, or in its letters.
            has_words: True if a value counts only as a separate word.
        """
        with self._lock:
            indexes: dict[ToolResult, bytes] = self._results  # of which the newest are unread
            unread = [*takewhile(lambda each: not indexes[each], reversed(indexes))]
        read = {result: result.read() for result in unread}
        with self._lock:
            self._derived_bytes += self._results.note_read(read)
            indexes = self._results.copy() if values else {}
        results = [*indexes]
        form = overlap.native()
        if form is None or not values:
            return results
        found = form.find_likely([*indexes.values()], [*map(overlap.lower, values)], has_words)
        return [results[at] for at in found]

    def find_forgotten(self, tool: Tool, text: bytes, now: float) -> list[leak.Leak]:
        """Find the forgotten result that a text for a tool may repeat."""
        if not self._forgotten:  # as a rule
            return []
        letters = overlap.letters(text.decode("utf-8", "ignore"))
        with self._lock:
            return self._forgotten.find_leaks(tool, len(letters), now)

    def has_returned(self, text: str) -> bool:
        """True if a text came back unchanged from any tool."""
        host = text.partition("://")[2].partition("/")[0]
        return any(result.has_address(text) for result in self.find_likely([host]))

    def find_sources(self, text: str) -> frozenset[str]:
        """The short values of the calls that returned a text unchanged."""
        results = (each for each in self.find_likely([text]) if text in each.text())
        return frozenset[str]().union(*(each.about for each in results))

    def returned_secrets(self, *, all_kinds: bool) -> list[str]:
        """The returned secrets that work once, or those of all kinds."""
        kinds = ToolResult.all_secrets if all_kinds else ToolResult.one_time_secrets
        with self._lock:
            results = list(self._results)
        return [secret for result in results for secret in kinds(result)]

    def read_words(self) -> list[ClientWords]:
        """Read the client's words in the requests that were forwarded."""
        from pipeguard.detect.flows.orders import ClientWords  # for calls that act

        with self._lock:
            requests = list(self._calls.unread)
        new = [ClientWords.read(at, tool_results.join_request(frame)) for at, frame in requests]
        with self._lock:
            return self._calls.keep_words(requests, new)

    def passed_calls(self, tool: Tool) -> list[bytes] | None:
        """The last calls of a tool, the newest last; None if they may have been forgotten.

        A call that is too long, or holds a secret, is empty.
        """
        with self._lock:
            return self._calls.list_passed(tool.key)

    def list_orders(self) -> list[CarriedOrder]:
        """The orders that calls carried out."""
        with self._lock:
            return list(self._orders)

    # --- what is dropped --------------------------------------------------------------------

    def size(self) -> int:
        """Its approximate size in memory, in bytes."""
        with self._lock:
            results = self._results.bytes + self._derived_bytes
            return results + self._calls.size + self.passages.size_bytes

    def bound_derived(self) -> None:
        """Count the data derived by a call; if it is too much, drop all but the indexes."""
        with self._lock:
            derived = sum(result.derived for result in self._results)
            if derived > DERIVED_BYTES:
                for result, index in self._results.items():
                    result.forget(len(index))
                derived = sum(result.derived for result in self._results)
            self._derived_bytes = self._calls.derived_bytes + derived
        self._memory.note(self)

    def forget_derived(self) -> None:
        """Drop everything that can be computed again."""
        with self._lock:
            for result in self._results:
                result.forget()
                self._results[result] = b""
            self._derived_bytes = self._calls.derived_bytes

    def give_way(self) -> None:
        """Forget everything: while it matters, anything sent counts as part of it."""
        with self._lock:
            self._forgotten.add(self._results, RESULT_SECONDS)
            self._results.clear()
            self._calls.clear()
            self._orders.clear()
            self._derived_bytes = 0
        self.passages.clear()

    def _drop_orders(self) -> None:
        """Forget the orders of results that are forgotten; under the lock."""
        for order in list(self._orders):
            if order.result not in self._results:
                self._orders.remove(order)
