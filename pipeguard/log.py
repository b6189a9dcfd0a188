"""Lines on stderr for the user: quiet by default, and never in the way of a frame.

Many clients do not read a server's stderr. Once its pipe is full, a line waits a moment; then it is
counted instead of written. The threads that carry frames write nothing here. structlog gives the
lines their form; it is imported with the first one, because it takes 46 ms and 8 MB.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from pipeguard.errors import PolicyError
from pipeguard.secrets_in_use import IN_USE
from pipeguard.terminal.colour import colour_is_unwanted

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor

LEVELS = ("debug", "info", "warning", "error", "off")
FORMATS = ("console", "json")
LEVEL_CHARS = 9  # as structlog, whose longest level is "exception"
_COLOURS = {"debug": 32, "info": 32, "warning": 33, "error": 31}  # ECMA-48, SGR
STDERR = 2
PATIENCE_SECONDS = 0.5  # for the reader of stderr to take a line
PIECE_BYTES = 512  # PIPE_BUF in POSIX: a ready pipe accepts as much without blocking


class Log:
    """Lines on stderr, from a level up.

    Attributes:
        server: the name of the server of all lines, for programs; or empty.
    """

    def __init__(self, level: str | None, style: str | None) -> None:
        """Choose the level and format of the lines.

        Raises:
            PolicyError: the level or format does not exist.
        """
        level, style = level or "warning", style or "console"
        if level not in LEVELS:
            raise PolicyError(f"--log-level {level}: choose from {', '.join(LEVELS)}.")
        if style not in FORMATS:
            raise PolicyError(f"--log-format {style}: choose from {', '.join(FORMATS)}.")
        self._from = LEVELS.index(level)
        self._is_json = style == "json"
        self.server = ""
        self._lock = threading.Lock()
        self._sink = _Sink()
        self._logger: FilteringBoundLogger | None = None

    def __call__(self, level: str, event: str, **fields: object) -> None:
        """Write one line; secrets in `fields` are masked already."""
        if LEVELS.index(level) < self._from:
            return
        with self._lock:
            shown = {key: value for key, value in fields.items() if value not in (None, "", ())}
            if self._sink.missed:
                shown["missed_lines"] = self._sink.missed
            if self._is_json and self.server:
                shown.setdefault("server", self.server)
            if self._logger is None:
                self._logger = _make_logger(self._sink, is_json=self._is_json)
            getattr(self._logger, level)(event, **shown)


_said_as_json = threading.Event()


def make_say(style: str | None) -> None:
    """Let `say` write JSON, too, if that is the format of the log."""
    if style == "json":
        _said_as_json.set()
    else:
        _said_as_json.clear()


def say(text: str, level: str = "info") -> None:
    """Write one message for the user, with our name in front; or as a line of JSON (`say_as`).

    It may quote names and paths that others chose, so control characters are made visible.

    Args:
        text: the text of the message.
        level: the level of the line of JSON.
    """
    if _said_as_json.is_set():
        Log("debug", "json")(level, text)
        return
    from pipeguard.unicode.display import visible

    _Sink().write("\n".join(map(visible, f"pipeguard: {text}".split("\n"))))


class _Sink:
    """Our stderr. Counts a line that does not fit; the next one is tried without waiting.

    Attributes:
        missed: lines that were not written, or not in full.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._patience_seconds = PATIENCE_SECONDS

    def write(self, line: str) -> None:
        """Write a line if somebody reads it."""
        rest = memoryview(IN_USE.mask(line).encode("utf-8", "backslashreplace") + b"\n")
        deadline = monotonic() + self._patience_seconds
        with suppress(OSError):  # closed: nobody will ever read it
            while rest:
                if not _is_ready(max(0.0, deadline - monotonic())):
                    self.missed += 1
                    self._patience_seconds = 0.0  # until somebody reads again
                    return
                with suppress(BlockingIOError):  # another process filled it or set O_NONBLOCK
                    rest = rest[os.write(STDERR, rest[:PIECE_BYTES]) :]
        self._patience_seconds = PATIENCE_SECONDS

    debug = info = warning = error = write  # the methods of a logger that structlog wraps


def _is_ready(timeout_seconds: float) -> bool:
    if sys.platform == "win32":
        return True
    poll = select.poll()
    poll.register(STDERR, select.POLLOUT)
    return bool(poll.poll(timeout_seconds * 1000))


def _make_logger(sink: _Sink, *, is_json: bool) -> FilteringBoundLogger:
    """A logger that writes lines in the format of the log."""
    import structlog
    from structlog.dev import ConsoleRenderer
    from structlog.processors import JSONRenderer, TimeStamper, add_log_level

    look: tuple[Processor, ...] = (JSONRenderer(ensure_ascii=False),)
    if not is_json:
        look = (_make_visible, ConsoleRenderer(pad_event_to=0, colors=False))
    stamp = TimeStamper(fmt="iso", utc=True)
    logger: FilteringBoundLogger = structlog.wrap_logger(sink, [add_log_level, stamp, *look]).bind()
    return logger


def _make_visible(_logger: object, level: str, fields: EventDict) -> EventDict:
    """The fields without the characters that a terminal would obey; the level in its colour."""
    from pipeguard.unicode.display import visible

    for name in {"why", "note"} & fields.keys():  # ours, with commands on lines of their own
        fields[name] = " ".join(map(str.strip, str(fields[name]).split("\n")))
    shown = {name: visible(str(value)) for name, value in fields.items()}
    if sys.platform != "win32" and os.isatty(STDERR) and not colour_is_unwanted():
        shown["level"] = f"\x1b[{_COLOURS[level]}m{level:{LEVEL_CHARS}}\x1b[0m"
    return shown
