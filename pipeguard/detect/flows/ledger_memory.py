"""The memory of all clients' ledgers: the least recently active one gives way.

The owner with the most memory gives way first, so that nobody loses memory to another owner's many
clients. A process has one `LedgerMemory`. A ledger first drops derived data, and then everything
that it remembers; `detect.flows.tool_results` handles the forgotten results.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import ref

from pipeguard.detect.flows.secret_values import CUT_CHARS
from pipeguard.detect.flows.tool_labels import ToolKey
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.firewall.budgets import measure_text
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from pipeguard.detect.flows.orders import ClientWords

MOST_BYTES = 64 * 2**20  # of all ledgers: 16 full ones, without derived data
RECENT_CALLS = 4  # of one tool, and in which the pieces of a value may leave one after the other
MOST_PIECES = 32  # over which a key is followed; a word that only begins like one never ends
RECENT_TOOLS = 64  # whose calls are remembered
MAX_NAME_CHARS = 256  # of a tool's, under which its calls are remembered
CALL_BYTES = 2**14  # of one call that a later one of its tool is compared with
SHARE_LEFT = 7 / 8  # of these after making room, so that it is not made for each result
_Counted = TypeVar("_Counted", str, ToolKey)


class Remembering(Protocol):
    """A ledger."""

    @property
    def owner(self) -> str:
        """The owner of its client: the name of a token; empty for all clients without one."""

    def size(self) -> int:
        """Its approximate size in memory, in bytes."""

    def forget_derived(self) -> None:
        """Drop everything that can be computed again."""

    def give_way(self) -> None:
        """Forget everything but the fact that it forgot."""


class LedgerMemory:
    """Bounds all ledgers together. Safe for any thread.

    A ledger is told to give way under the lock here, which is taken before its own and never
    after it.

    Args:
        limit_bytes: that all of them may take.
    """

    def __init__(self, limit_bytes: int = MOST_BYTES) -> None:
        self._limit = limit_bytes
        self._lock = Lock()
        self._sizes: OrderedDict[ref[Remembering], int] = OrderedDict()  # least lately used first
        self._total = 0
        self._gone: deque[ref[Remembering]] = deque()  # of deleted clients; collections fill it

    @property
    def total_bytes(self) -> int:
        """The approximate size of all ledgers."""
        with self._lock:
            self._drop_gone()
            return self._total

    def note(self, ledger: Remembering) -> None:
        """Recount a ledger after use; evict others if the total exceeds the limit."""
        with self._lock:
            self._drop_gone()
            key = ref(ledger)  # equal to the existing one, which has a callback
            if key not in self._sizes:
                key = ref(ledger, self._gone.append)
            self._count(key, ledger)
            self._sizes.move_to_end(key)
            if self._total > self._limit:
                self._make_room()

    def _count(self, key: ref[Remembering], ledger: Remembering) -> None:
        size = ledger.size()
        self._total += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def _make_room(self) -> None:
        """Free derived data first, and only then the rest."""
        enough = self._limit * SHARE_LEFT
        for key in list(self._sizes):
            if self._total <= enough:
                return
            ledger = key()
            if ledger is not None:
                ledger.forget_derived()
                self._count(key, ledger)
        sizes = Counter[str]()  # by owner
        turns = defaultdict[str, deque[Remembering]](deque)
        for key, size in self._sizes.items():
            ledger = key()
            if ledger is not None:
                sizes[ledger.owner] += size
                turns[ledger.owner].append(ledger)
        while sizes and self._total > enough:
            owner, _ = sizes.most_common(1)[0]
            ledger = turns[owner].popleft()
            before = self._total
            ledger.give_way()
            self._count(ref(ledger), ledger)
            sizes[owner] -= before - self._total
            if not turns[owner]:
                del sizes[owner]

    def _drop_gone(self) -> None:
        while self._gone:
            self._total -= self._sizes.pop(self._gone.popleft(), 0)


# --- remembered results ------------------------------------------------------------------


class RememberedResults(dict[ToolResult, bytes]):
    """Results, the oldest first, with the indexes of their rows (`ToolResult.read`).

    For one thread at a time: the lock of their ledger guards them. An index is empty until its
    result is read.

    Args:
        most: the largest number of results.
        most_bytes: their largest size.
        seconds: how long a result matters.

    Attributes:
        addressed: the read results that have a part for a model.
        taken_in: how many results third parties may have written.
        bytes: of the results, without what is derived from them.
    """

    def __init__(self, most: int, most_bytes: int, seconds: float) -> None:
        super().__init__()
        self._most = most
        self._most_bytes = most_bytes
        self._seconds = seconds
        self.addressed: set[ToolResult] = set()
        self._counts: dict[str, int] = {}  # by server
        self._sizes: dict[str, int] = {}  # by server
        self._keys: dict[ToolKey, int] = {}  # of the tools
        self.bytes = self.taken_in = 0

    def has_others(self, own: ToolKey) -> bool:
        """True if a result comes from a tool other than this."""
        return len(self._keys) > (own in self._keys)

    def add(self, result: ToolResult, now: float, shares: int = 1) -> None:
        """Remember a result; forget the ones that no longer matter or fit.

        Args:
            result: the result.
            now: seconds on the session's clock.
            shares: 2 if what other ledgers returned has as much room as the own results.
        """
        self[result] = b""
        self._note(result, 1)
        while self and now - (oldest := next(iter(self))).since > self._seconds:
            self._drop(oldest)
        while self.bytes > shares * self._most_bytes:
            self._drop_oldest(self._sizes)
        while len(self) > shares * self._most:
            self._drop_oldest(self._counts)

    def clear(self) -> None:
        """Forget all."""
        super().clear()
        for known in (self.addressed, self._counts, self._sizes, self._keys):
            known.clear()
        self.bytes = self.taken_in = 0

    def note_read(self, read: dict[ToolResult, tuple[bytes, bool]]) -> int:
        """Store the indexes of results that are still remembered; return their size in bytes."""
        kept = {result: index for result, (index, _) in read.items() if result in self}
        for result, index in kept.items():
            self[result] = index
            result.derived += len(index)
        self.addressed.update(result for result in kept if read[result][1])
        return sum(map(len, kept.values()))

    def _note(self, result: ToolResult, sign: int) -> None:
        key = result.key
        size = sign * result.size
        self.bytes += size
        self.taken_in += sign * result.takes_in
        _change(self._keys, key, sign)
        server = key[0]
        if _change(self._counts, server, sign):
            self._sizes[server] = self._sizes.get(server, 0) + size
        else:
            del self._sizes[server]

    def _drop_oldest(self, taken: dict[str, int]) -> None:
        """Forget the oldest result of the server that takes the most."""
        oldest = next(iter(self))
        if len(taken) > 1:
            server = max(taken, key=taken.__getitem__)
            oldest = next(result for result in self if result.key[0] == server)
        self._drop(oldest)

    def _drop(self, result: ToolResult) -> None:
        """Forget a result."""
        del self[result]
        self.addressed.discard(result)
        self._note(result, -1)


def _change(counts: dict[_Counted, int], key: _Counted, by: int) -> int:
    """Change a count, and forget it at 0; return the new count."""
    count = counts.get(key, 0) + by
    if count:
        counts[key] = count
    else:
        del counts[key]
    return count


# --- remembered calls --------------------------------------------------------------------


class RememberedCalls:
    """Forwarded requests, for one thread at a time: the lock of their ledger guards them.

    Args:
        most_bytes: limit for the words in them, for half of the unread ones, and again for the
            last calls of each tool.

    Attributes:
        unread: the requests that are not read yet, the oldest first.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        # Only bytes: each garbage collection would walk thousands of live objects.
        self.unread: deque[tuple[int, bytes]] = deque()
        self._words: deque[ClientWords] = deque()
        self._unread_bytes = self._words_chars = self._words_bytes = self._passed_bytes = 0
        self._passed: OrderedDict[ToolKey, deque[bytes]] = OrderedDict()
        self._has_forgotten = False  # calls of some tool
        # The texts of calls that send; while one is judged, it takes no place of another.
        self._sent: deque[_Part] = deque(maxlen=2 * RECENT_CALLS)
        self._begun_keys: deque[_Part] = deque(maxlen=RECENT_CALLS)

    @property
    def size(self) -> int:
        """Bytes of frames in it."""
        return self._unread_bytes + self._passed_bytes

    @property
    def derived_bytes(self) -> int:
        """The size of the data derived from calls."""
        return self._words_bytes + measure_text(*(part.text for part in self._sent))

    @property
    def has_begun_key(self) -> bool:
        """True if the end of a recent call may begin a key."""
        return any(part.text for part in self._begun_keys)

    def clear(self) -> None:
        """Forget all."""
        self._has_forgotten = self._has_forgotten or bool(self._passed)
        for recent in (self.unread, self._words, self._sent, self._begun_keys):
            recent.clear()
        self._passed.clear()
        self._unread_bytes = self._words_chars = self._words_bytes = self._passed_bytes = 0

    def add(self, number: int, frame: bytes) -> None:
        """Remember the content of a request as the client's own words."""
        if len(frame) > self._most_bytes:
            return
        self.unread.append((number, frame))
        self._unread_bytes += len(frame)
        while self._unread_bytes > 2 * self._most_bytes:  # half of which may be words
            self._unread_bytes -= len(self.unread.popleft()[1])

    def keep_words(
        self, requests: list[tuple[int, bytes]], words: list[ClientWords]
    ) -> list[ClientWords]:
        """Replace the unread requests by their words; return all words."""
        for request, said in zip(requests, words, strict=True):
            if self.unread and self.unread[0] is request:  # unless another thread was faster
                self._unread_bytes -= len(self.unread.popleft()[1])
                self._words.append(said)
                self._words_chars += len(said.text)
                self._words_bytes += measure_text(said.text, said.small, said.letters)
        while self._words_chars > self._most_bytes:
            oldest = self._words.popleft()
            self._words_chars -= len(oldest.text)
            self._words_bytes -= measure_text(oldest.text, oldest.small, oldest.letters)
        return list(self._words)

    # --- the last ones, to compare another one with, or to join it with --------------------

    def add_passed(self, key: ToolKey, frame: bytes) -> None:
        """Remember a call of a tool; a call that is too long, as empty."""
        key = _shorten(key)
        recent = self._passed.pop(key, None) or deque[bytes]()
        recent.append(frame if len(frame) <= CALL_BYTES else b"")
        self._passed_bytes += len(recent[-1])
        if len(recent) > RECENT_CALLS:
            self._passed_bytes -= len(recent.popleft())
        self._passed[key] = recent
        while self._passed_bytes > self._most_bytes or len(self._passed) > RECENT_TOOLS:
            self._passed_bytes -= sum(map(len, self._passed.popitem(last=False)[1]))
            self._has_forgotten = True

    def list_passed(self, key: ToolKey) -> list[bytes] | None:
        """The last calls of a tool, the newest last; None if they may be forgotten."""
        recent = self._passed.get(_shorten(key))
        return None if recent is None and self._has_forgotten else list(recent or ())

    def add_sent(self, call: str, text: str) -> tuple[list[str], list[str]]:
        """Remember the text of a call, empty if it does not send.

        Args:
            call: identifies the call until `settle`; if empty, it was forwarded.
            text: of the call.

        Returns:
            The texts of the last calls that sent, without this one; and with those stopped.
        """
        others = [part for part in self._sent if not call or part.call != call]
        if text:
            self._sent.append(_Part(call, text))
        sent = [part.text for part in others if not part.was_stopped]
        return sent[-RECENT_CALLS:], [part.text for part in others]

    def join_key(self, call: str, begun: str, ends: Sequence[str]) -> list[tuple[str, str]]:
        """Join the beginnings of keys in recent calls to the ends of the texts of a call.

        Remembers the beginning of a key in this call, or the longer one that it continues.

        Args:
            call: identifies the call until `settle`; if empty, it was forwarded.
            begun: the beginning of a key at the end of one of the texts; may be empty.
            ends: the last values of the texts.

        Returns:
            Each beginning and the joined text, those of the latest call first.
        """
        recent = reversed(self._begun_keys)
        before = [part.text for part in recent if part.text and not part.was_stopped]
        joined = [(each, each + end) for each in before for end in ends]
        if begun:
            self._begun_keys.append(_Part(call, begun))
        elif before:
            since = self._begun_keys[-1].since + 1
            longer = joined[0][1][:CUT_CHARS] if joined and since <= MOST_PIECES else ""
            self._begun_keys.append(_Part(call, longer, since))
        return joined

    def settle(self, call: str, *, went_on: bool) -> None:
        """Count the parts of a call as sent, or as stopped: it never reached the server."""
        for recent in (self._sent, self._begun_keys):
            for at, part in enumerate(recent):
                if part.call == call:
                    recent[at] = part._replace(call="", was_stopped=not went_on)


class _Part(NamedTuple):
    """A part of a call, which others may complete.

    Attributes:
        call: identifies the call while it is judged; empty once it was forwarded.
        text: the part.
        since: for a key over several calls, how many calls ago it began.
        was_stopped: True if the call never reached the server.
    """

    call: str
    text: str
    since: int = 0
    was_stopped: bool = False


def _shorten(key: ToolKey) -> ToolKey:
    return key[0], key[1][:MAX_NAME_CHARS]
