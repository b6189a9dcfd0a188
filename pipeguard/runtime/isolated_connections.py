"""The connections of isolated servers on their way to the audit, from before the run is there."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.isolation.egress.judge import EgressRecord
    from pipeguard.isolation.egress.recording import ConnectionRecorder
    from pipeguard.state.connections import EndedConnection

MOST_WAITING = 1000  # connections, before the audit is open: a server is not that quick


class IsolatedConnections:
    """Takes reports from any thread; keeps them until it knows where to write them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[EgressRecord] = []
        self._recorder: ConnectionRecorder | None = None

    def report(self, record: EgressRecord) -> None:
        """Take a connection that ended or was refused."""
        with self._lock:
            if self._recorder is not None:
                self._recorder(record)
            elif len(self._waiting) < MOST_WAITING and not record.is_repeated:
                self._waiting.append(record)

    def attach(
        self, write: Callable[[EndedConnection], str], refused: Callable[[str, str], None]
    ) -> None:
        """Write what came and what comes to the audit, and tell of what was refused."""
        # Here, since a server is waiting before.
        from pipeguard.isolation.egress.recording import ConnectionRecorder

        with self._lock:
            self._recorder = ConnectionRecorder(write, refused=refused)
            for record in self._waiting:
                self._recorder(record)
            self._waiting = []

    def close(self) -> None:
        """Write what was only counted so far; nothing comes any more."""
        with self._lock:
            if self._recorder is not None:
                self._recorder.close()
