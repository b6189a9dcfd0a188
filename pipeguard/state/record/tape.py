"""One record while it is written: takes what a client's sessions take, and writes it behind them.

Knows the order and the lines; `masking` knows what is private. Judging threads only hand over.

One frame of a record is judged at a time (transports.judging), so that a replay has their order. A
changed policy or pin is recorded before the first frame that it judges: others make pins, too.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from errno import ENOSPC
from io import FileIO
from threading import Event as Signal
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import TO_CLIENT, TO_SERVER, Verdict, have_private
from pipeguard.firewall.pins.store import PinsByKey
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol.framing import Oversized
from pipeguard.firewall.protocol.strict_json import without_value
from pipeguard.firewall.session.events import Frame, PinsChanged, PolicyChanged
from pipeguard.firewall.session.guard import EXEMPT
from pipeguard.firewall.session.session import Event, Left, Session
from pipeguard.state.record import lines
from pipeguard.state.record.events import describe_event, describe_server, describe_session, matters
from pipeguard.state.record.masking import Masker
from pipeguard.state.record.values import keep_fingerprints
from pipeguard.state.timestamps import exact_now_text
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from pipeguard.state.record.folder import RecordFolder

BACKLOG_BYTES = 4 * 2**20  # of frames that wait to be written; then a frame waits for room
WAIT_SECONDS = 1.0  # for room; then frames are lost until there is some
END_BYTES = 256  # of the last line, at most
MOST_BYTES = lines.MAX_LINE_BYTES // 6 - END_BYTES  # of a frame, if each character has an escape
_WITH_FINGERPRINTS = ("server", "PinsChanged", "PolicyChanged")
# A session, and the time; a frame, or what else happened; the verdict; and whether the rules read
# all of the frame.
_Item = tuple[Session, float, bytes | lines.Fields, lines.Fields, bool]


class RecordTape:
    """Writes one record. `write` and `fail` are for one thread; all others may be called by any.

    Args:
        folder: of the records.
        name: of the server, or the gateway; begins the file's name.
        run: names the client session.
        rules: hash of the compiled rules.
        attach: called before the first line, and again to hurry: then `write` is called, again and
            again.

    Attributes:
        name: of the server, or the gateway.
        end_reason: why it ends; empty if it does not.
        is_over: True once nothing more is taken down.
        is_shared: True if it does not end with a conversation.
    """

    def __init__(
        self,
        folder: RecordFolder,
        name: str,
        run: str,
        rules: bytes,
        attach: Callable[[RecordTape], object],
    ) -> None:
        key = os.urandom(16)
        self._folder, self.name, self._attach = folder, name, attach
        self._masker, self._began = Masker(key), monotonic()
        self._header: lines.Fields = {
            "format": lines.FORMAT,
            "version": lines.VERSION,
            "run": run,
            "started": exact_now_text(),
            "pipeguard": VERSION,
            "rules": rules.hex(),
            "key": key.hex(),
            "own": self._masker.own_surrogates(),
        }
        self._items = deque[_Item]()
        self._turn, self._lock = Lock(), Lock()
        self._taken_bytes = self._written_bytes = 0
        self._has_written = Signal()  # since a frame waited for room
        self._has_written.set()
        self._servers: dict[str, tuple[Policy, PinsByKey, PinsByKey | None]] = {}
        self._runs = set[str]()  # of the sessions that are on it
        self._path, self._hash, self._size = "", b"", 0
        self._number = self._frames = self._lost = 0
        self.end_reason = ""
        self.is_over = self.is_shared = False

    # --- in any thread ---

    def take(self, session: Session, event: Event) -> Verdict:
        """Let a session take an event, and take it down."""
        if self.is_over:
            return session.take(event)
        if isinstance(event, Frame):
            with self._turn:  # one after the other
                self._follow(session)
                verdict = session.take(event)
                self._add_frame(session, event, verdict)
            return verdict
        verdict = session.take(event)
        is_known = session.run in self._runs or not isinstance(event, Left)
        if is_known and matters(event, verdict):
            self._follow(session)
            now = event.now or monotonic()
            self._put(session, now, describe_event(event), _describe_verdict(verdict))
        return verdict

    def end(self) -> None:
        """End the record with its conversation, unless others share it."""
        if not self.is_shared:
            self.end_reason = self.end_reason or "closed"

    def _follow(self, session: Session) -> None:
        """Take down a server or a session that is new, and how policy and pins changed."""
        guard, now = session.guard, monotonic()
        policy, pins, stored = state = guard.shared.policy, guard.pins.all(), guard.pins.stored
        with self._lock:
            known = self._servers.setdefault(guard.name, state)
            self._servers[guard.name] = state
            changes = []
            if known is state:
                changes.append(describe_server(guard))
            if policy is not known[0]:
                changes.append(describe_event(PolicyChanged(policy, now)))
            if pins is not known[1]:
                if stored is not None and stored is not known[2]:
                    pins = stored  # a replay replaces its own, too
                changes.append(describe_event(PinsChanged(pins, now)))
            if session.run not in self._runs:
                self._runs.add(session.run)
                changes.append(describe_session(session))
            for change in changes:
                self._put(session, now, change)
                self._attach(self)

    def _add_frame(self, session: Session, event: Frame, verdict: Verdict) -> None:
        guard, frame = session.guard, event.frame
        if verdict.pins:  # a replay learns them, too
            policy, _, stored = self._servers[guard.name]
            self._servers[guard.name] = policy, guard.pins.all(), stored
        if verdict.is_unfinished:
            return
        if not self._has_room():
            self._lost += 1
            return
        self._taken_bytes += len(frame)
        is_clean = verdict.forward is frame and not have_private(verdict.findings)
        fields = _describe_verdict(verdict)
        fields["from"] = "client" if event.direction is TO_SERVER else "server"
        is_read = is_clean and guard.inspects
        self._put(session, event.now, without_value(frame), fields, is_read=is_read)

    def _has_room(self) -> bool:
        """Wait for room for a frame; False if there is none, also if one waited in vain."""
        waiting_bytes = self._taken_bytes - self._written_bytes
        if waiting_bytes > BACKLOG_BYTES // 2:
            self._attach(self)
        if waiting_bytes <= BACKLOG_BYTES:
            return True
        has_waited = not self._has_written.is_set()
        self._has_written.clear()
        return not has_waited and self._has_written.wait(WAIT_SECONDS)

    def _put(
        self,
        session: Session,
        now: float,
        what: bytes | lines.Fields,
        verdict: lines.Fields | None = None,
        *,
        is_read: bool = False,
    ) -> None:
        self._items.append((session, now - self._began, what, verdict or {}, is_read))

    # --- in the recorder's thread ---

    def write(self) -> None:
        """Write all that waits; then end the record if it is to end.

        Raises:
            OSError: the disk fails.
        """
        if self.is_over or not (self._items or self.end_reason):
            return
        self._path = self._path or self._folder.create(self.name, self._header["run"])
        with open(self._path, "rb+", buffering=0) as file:  # not kept: sessions may be many
            file.seek(self._size)
            while self._items and self.end_reason != "size":
                fields = self._describe_item(*self._items.popleft())
                if not self._size:
                    self._write_line(file, self._describe_record(fields))
                self._write_line(file, fields)
            self._has_written.set()
            if self.end_reason:
                end = {"end": self.end_reason, "frames": self._frames, "lost": self._lost}
                self._write_line(file, end)
                self.is_over = True

    def fail(self) -> None:
        """Give the record up; the session goes on."""
        self.end_reason = "failed"
        self._items.clear()
        with suppress(OSError):
            os.truncate(self._path, self._size)
            if self._size:
                self.write()
        self.is_over = True

    def _write_line(self, file: FileIO, fields: lines.Fields) -> None:
        """Write a line, or end the record if it does not fit."""
        digest, line = lines.seal(self._hash, lines.to_text(fields))
        if "end" not in fields and self._size + len(line) + END_BYTES > self._folder.file_bytes:
            self.end_reason = "size"
            return
        if os.write(file.fileno(), line) < len(line):
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        self._hash = digest
        self._size += len(line)
        self._frames += "from" in fields

    def _describe_record(self, server: lines.Fields) -> lines.Fields:
        """The first line, from that of the first server."""
        pins = {
            f"{pin['kind']}/{pin['name']}": pin["approved_fingerprint"] for pin in server["pins"]
        }
        more = {"policy": server["policy"], "pins": {server["server"]: pins}}
        return self._header | more | {"clock": self._began}

    def _describe_item(
        self,
        session: Session,
        seconds: float,
        what: bytes | lines.Fields,
        verdict: lines.Fields,
        is_read: bool,  # noqa: FBT001  of an item
    ) -> lines.Fields:
        self._number += 1
        fields: lines.Fields = {
            "n": self._number,
            "t": round(seconds, 6),
            "server": session.guard.name,
            **verdict,
        }
        if session.exchange:
            fields["exchange"] = session.exchange
        if isinstance(what, bytes):
            self._written_bytes += len(what)
            if isinstance(what, Oversized) or len(what) > MOST_BYTES:
                return fields | {"bytes": getattr(what, "size", len(what))}
        text = what if isinstance(what, bytes) else json.dumps(what).encode()
        direction = TO_CLIENT if verdict.get("from") == "server" else TO_SERVER
        masked = None
        with suppress(Refusal):
            masked = self._masker.mask_frame(session.guard, direction, text, is_read=is_read)
        if masked is None:
            return fields | {"withheld": True, "bytes": len(text)}
        if isinstance(what, bytes):
            return fields | _show_frame(masked)
        shown: lines.Fields = json.loads(masked)
        if what["what"] in _WITH_FINGERPRINTS:
            shown = keep_fingerprints(what, shown)
        return fields | {"session": session.run} | shown


def _show_frame(frame: bytes) -> lines.Fields:
    try:
        return {"frame": frame.decode()}
    except UnicodeDecodeError:
        return {"frame64": b64encode(frame).decode()}


def _describe_verdict(verdict: Verdict) -> lines.Fields:
    fields: lines.Fields = {
        "event": verdict.event,
        "action": verdict.action.name.lower(),
        "rules": sorted({each.rule for each in verdict.findings}),
    }
    if exempt := [each.content for each in verdict.findings if each.note == EXEMPT]:
        fields["exempt"] = exempt
    return fields
