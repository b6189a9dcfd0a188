"""The connections of isolated servers on their way to the audit, from before the run is there."""

from __future__ import annotations

from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.isolation.egress.judge import EgressRecord
    from pipeguard.isolation.egress.recording import ConnectionRecorder, RefusedTarget
    from pipeguard.state.connections import EndedConnection

MOST_WAITING = 1000  # connections, before the audit is open: a server is not that quick


class IsolatedConnections:
    """Takes reports from any thread; keeps them until it knows where to write them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[EgressRecord] = []
        self._make: Callable[[], ConnectionRecorder] | None = None
        self._recorder: ConnectionRecorder | None = None

    def report(self, record: EgressRecord) -> None:
        """Take a connection that ended or was refused."""
        if record.at is None:
            record = record._replace(at=monotonic())
        with self._lock:
            if self._make is not None:
                self._record(record, self._make)
            elif len(self._waiting) < MOST_WAITING and not record.is_repeated:
                self._waiting.append(record)

    def attach(
        self, write: Callable[[EndedConnection], str], refused: Callable[[RefusedTarget], None]
    ) -> None:
        """Write what came and what comes to the audit, and tell of what was refused."""

        def make() -> ConnectionRecorder:
            from pipeguard.isolation.egress.recording import ConnectionRecorder

            return ConnectionRecorder(write, refused=refused)

        with self._lock:
            self._make, self._recorder = make, None
            waiting, self._waiting = self._waiting, []
            for record in waiting:
                self._record(record, make)

    def _record(self, record: EgressRecord, make: Callable[[], ConnectionRecorder]) -> None:
        """Record it; what writes is made for the first one: many servers never connect."""
        self._recorder = self._recorder or make()
        self._recorder(record)

    def close(self) -> None:
        """Write what was only counted so far; nothing comes any more."""
        with self._lock:
            if self._recorder is not None:
                self._recorder.close()
