"""What a person may read on stderr: quiet by default, and never in anybody's way.

structlog costs a tenth of a second, so it is loaded with the first line that is written, by the
thread that writes it, which is never one that carries frames. Many clients do not read a server's
stderr: once its pipe is full a line waits for a moment, and is then counted instead of written.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from pipeguard.core.finding import Direction, Verdict
from pipeguard.errors import PolicyError
from pipeguard.secrets_in_use import IN_USE
from pipeguard.terminal.colour import colour_is_unwanted

TYPE_CHECKING = False  # as typing.TYPE_CHECKING
if TYPE_CHECKING:
    from queue import SimpleQueue
else:
    from _queue import SimpleQueue  # without the half that is written in Python

LEVELS = ("trace", "debug", "info", "warning", "error", "off")
FORMATS = ("console", "json")
STDERR = 2
TRACED_FRAMES = 1000  # that wait to be shown; what comes then is counted, not kept
TRACED_BYTES = 4096  # of one frame
# Of one frame beyond that, for the mask to see a secret whole that stands across the cut.
MASKED_BYTES = 4096
PATIENCE_SECONDS = 0.5  # for a reader of stderr to take something
PIECE_BYTES = 512  # PIPE_BUF of POSIX: so much can be written to a pipe that says it is ready


class Log:
    """Lines on stderr, from a level on.

    Attributes:
        traces: True where every frame is to be shown.
    """

    def __init__(self, level: str | None, style: str | None) -> None:
        """Choose what is shown.

        Raises:
            PolicyError: no such level or format.
        """
        level, style = level or "warning", style or "console"
        if level not in LEVELS:
            raise PolicyError(f"--log-level {level}: there are {', '.join(LEVELS)}.")
        if style not in FORMATS:
            raise PolicyError(f"--log-format {style}: there are {', '.join(FORMATS)}.")
        self._from = LEVELS.index(level)
        self._style = style
        self._logger: Any = None
        self._lock = threading.Lock()
        self._sink = _Sink()
        self.traces = level == "trace"

    def __call__(self, level: str, event: str, **fields: object) -> None:
        """Tell one thing; `fields` are masked already."""
        if LEVELS.index(level) < self._from:
            return
        with self._lock:
            if self._logger is None:
                self._logger = _logger(self._style, self._sink)
            told = {key: value for key, value in fields.items() if value not in (None, "", ())}
            if self._sink.missed:
                told["missed_lines"] = self._sink.missed
            getattr(self._logger, "debug" if level == "trace" else level)(event, **told)


class _Traced(NamedTuple):
    """What is kept of a frame until it is shown."""

    direction: Direction
    event: str
    action: str
    length_bytes: int
    beginning: bytes


class Trace:
    """Shows every frame, masked, from a thread of its own."""

    def __init__(self, log: Log, mask: Callable[[bytes], bytes]) -> None:
        self._log = log
        self._mask = mask
        self._frames: SimpleQueue[_Traced | None] = SimpleQueue()
        self._missed = 0
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    def show(self, verdict: Verdict) -> None:
        """Hand over a frame; never waits."""
        if self._frames.qsize() >= TRACED_FRAMES:
            self._missed += 1
            return
        self._frames.put(
            _Traced(
                verdict.direction,
                verdict.event,
                verdict.action.name.lower(),
                len(verdict.frame),
                verdict.frame[: TRACED_BYTES + MASKED_BYTES],
            )
        )

    def close(self) -> None:
        """Show what waits and end."""
        self._frames.put(None)
        self._thread.join(5)

    def _run(self) -> None:
        while (traced := self._frames.get()) is not None:
            self._log(
                "trace",
                "→ server" if traced.direction is Direction.TO_SERVER else "← server",
                event_id=traced.event,
                action=traced.action,
                length_bytes=traced.length_bytes,
                frame=self._mask(traced.beginning)[:TRACED_BYTES].decode("utf-8", "replace"),
                missed_frames=self._missed or None,
            )


def say(text: str) -> None:
    """One thing that a person should know, in the words of every other message of ours.

    Names and paths in it are others' words: what a terminal would obey is made visible.
    """
    from pipeguard.core.unicode.display import visible

    _Sink().write("\n".join(map(visible, f"pipeguard: {text}".split("\n"))))


class _Sink:
    """Our stderr. What nobody reads is counted, and the next line is asked for anew.

    Attributes:
        missed: lines that were not written, or not whole.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._patience_seconds = PATIENCE_SECONDS

    def write(self, line: str) -> None:
        """Write a line if anybody takes it."""
        rest = memoryview(IN_USE.masked(line).encode("utf-8", "backslashreplace") + b"\n")
        deadline = monotonic() + self._patience_seconds
        with suppress(OSError):  # it is closed: nobody will ever read it
            while rest:
                if not _is_ready(max(0.0, deadline - monotonic())):
                    self.missed += 1
                    self._patience_seconds = 0.0  # until somebody reads again
                    return
                with suppress(BlockingIOError):  # another process filled it, or made it so
                    rest = rest[os.write(STDERR, rest[:PIECE_BYTES]) :]
        self._patience_seconds = PATIENCE_SECONDS

    debug = info = warning = error = write  # by level, as structlog calls it


def _is_ready(timeout_seconds: float) -> bool:
    if sys.platform == "win32":
        return True
    poll = select.poll()
    poll.register(STDERR, select.POLLOUT)
    return bool(poll.poll(timeout_seconds * 1000))


def _logger(style: str, sink: _Sink) -> Any:
    import structlog

    renderer: Any
    if style == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=os.isatty(STDERR) and not colour_is_unwanted()
        )
    return structlog.wrap_logger(
        sink,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
    )
