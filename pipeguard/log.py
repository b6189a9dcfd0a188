"""What a person may read on stderr: quiet by default, imported only when there is something.

structlog costs a tenth of a second, so it is loaded with the first line that is written, by the
thread that writes it, which is never one that carries frames.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from pipeguard.core.finding import Direction, Verdict
from pipeguard.errors import PolicyError

LEVELS = ("trace", "debug", "info", "warning", "error", "off")
FORMATS = ("console", "json")
TRACED_FRAMES = 1000  # that wait to be shown; what comes then is counted, not kept
TRACED_BYTES = 4096  # of one frame


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
            raise PolicyError(f"--log-level {level}: give one of {', '.join(LEVELS)}")
        if style not in FORMATS:
            raise PolicyError(f"--log-format {style}: give one of {', '.join(FORMATS)}")
        self._from = LEVELS.index(level)
        self._style = style
        self._logger: Any = None
        self._lock = threading.Lock()
        self.traces = level == "trace"

    def __call__(self, level: str, event: str, **fields: object) -> None:
        """Tell one thing; `fields` are masked already."""
        if LEVELS.index(level) < self._from:
            return
        with self._lock:
            if self._logger is None:
                self._logger = _logger(self._style)
            told = {key: value for key, value in fields.items() if value not in (None, "", ())}
            getattr(self._logger, "debug" if level == "trace" else level)(event, **told)


class Trace:
    """Shows every frame, masked, from a thread of its own."""

    def __init__(self, log: Log, mask: Callable[[bytes], bytes]) -> None:
        self._log = log
        self._mask = mask
        self._frames: queue.Queue[Verdict | None] = queue.Queue(TRACED_FRAMES)
        self._missed = 0
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    def show(self, verdict: Verdict) -> None:
        """Hand over a frame; never waits."""
        try:
            self._frames.put_nowait(verdict)
        except queue.Full:
            self._missed += 1

    def close(self) -> None:
        """Show what waits and end."""
        self._frames.put(None)
        self._thread.join(5)

    def _run(self) -> None:
        while (verdict := self._frames.get()) is not None:
            frame = verdict.frame[:TRACED_BYTES]
            self._log(
                "trace",
                "→ server" if verdict.direction is Direction.TO_SERVER else "← server",
                event_id=verdict.event,
                action=verdict.action.name.lower(),
                length_bytes=len(verdict.frame),
                frame=self._mask(frame).decode("utf-8", "replace"),
                missed=self._missed or None,
            )


def _logger(style: str) -> Any:
    import structlog

    renderer: Any
    if style == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
    )
