"""Records the sessions of a process's clients, if it is asked to (state.record)."""

from __future__ import annotations

from functools import cache
from threading import Thread
from time import time
from typing import TYPE_CHECKING

from pipeguard.config.effective_policy import wrap_record
from pipeguard.config.options import WrapOptions

if TYPE_CHECKING:
    from pipeguard.config.policy_file import RecordSettings
    from pipeguard.state.record.folder import RecordFolder
    from pipeguard.state.record.tape import RecordTape
    from pipeguard.state.recorder import Recorder

MOST_CLIENTS = 1000  # whose single messages are on one record; then the first one's ends


class Recording:
    """The records of a server's sessions, or the gateway's.

    Args:
        options: of the command line.
        rules: hash of the compiled rules.
        recorder: its thread writes the records, and they end with it.

    Raises:
        PolicyError: the folder cannot be used.
    """

    def __init__(self, options: WrapOptions, rules: bytes, recorder: Recorder) -> None:
        self._rules, self._recorder = rules, recorder
        self._shared: dict[str, RecordTape] = {}
        settings = wrap_record(options)
        self._folder = None if settings is None else _open_folder(settings)

    def begin(self, name: str, run: str) -> RecordTape | None:
        """Begin the record of a client session; it has a file from its first frame on.

        Args:
            name: of the server, or the gateway.
            run: names the session.

        Returns:
            Its tape; None if none is wanted.
        """
        if self._folder is None:
            return None
        from pipeguard.state.record.tape import RecordTape

        return RecordTape(self._folder, name, run, self._rules, self._recorder.attach)

    def find_tape(self, name: str, run: str, who: str, version: str | None) -> RecordTape | None:
        """The tape of a session; None if none is wanted.

        Args:
            name: of the server.
            run: names the session.
            who: the name of its client's token, or empty.
            version: of its first message, if that does not begin a conversation: then the session
                is for this message alone, and on its client's record.
        """
        tape = self._shared.get(who) if version else None
        if tape is None or tape.is_over:
            tape = self.begin(name, run)
            if version and tape is not None:
                tape.is_shared = True
                self._shared[who] = tape
        if len(self._shared) > MOST_CLIENTS:
            self._shared.pop(next(iter(self._shared))).end_reason = "closed"
        return tape


@cache
def _open_folder(settings: RecordSettings) -> RecordFolder:
    from pipeguard.state.record.folder import RecordFolder

    folder = RecordFolder(*settings)
    folder.open()
    Thread(target=folder.prune, args=(time(),), daemon=True).start()
    return folder
