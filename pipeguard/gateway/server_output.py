"""Standard error of each server: in a file of its own, masked and bounded.

Free text, which never signals an error (MCP 2025-11-25, basic/transports, stdio).
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from time import sleep
from typing import TextIO

from pipeguard.errors import InputError
from pipeguard.state.paths import state_folder
from pipeguard.state.timestamps import utc_text
from pipeguard.transports.stderr import neutralise

MOST_BYTES = 2 * 2**20  # of one file; there are two of them for a server
LOOK_SECONDS = 0.2  # between two looks for new lines
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def output_path(server: str) -> Path:
    """The file of a server's output, which need not exist."""
    return state_folder() / "logs" / f"{_UNSAFE.sub('_', server)}.log"


class ServerOutput:
    """Appends a server's output to its file; called as the mask of a copy of standard error.

    Each line gets the time. A full file replaces the previous one.

    Args:
        server: the server's name.
        mask: removes secrets.
    """

    def __init__(self, server: str, mask: Callable[[bytes], bytes]) -> None:
        self._path = output_path(server)
        self._mask = mask
        self._lock = Lock()
        self._is_line_open = False
        self._path.parent.mkdir(mode=0o700, exist_ok=True)

    def __call__(self, text: bytes) -> bytes:
        """Write a text; return none of it for our own standard error."""
        clean = neutralise(self._mask(text))
        with self._lock:
            try:
                self._append(clean)
            except OSError:  # the disk is full: a server does not stop for that
                self._is_line_open = False
        return b""

    def _append(self, text: bytes) -> None:
        with suppress(FileNotFoundError):
            if self._path.stat().st_size > MOST_BYTES:
                self._path.replace(self._path.with_suffix(".log.1"))
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            time = utc_text(datetime.now(UTC)).encode()
            for line in text.splitlines(keepends=True):
                os.write(file, line if self._is_line_open else b"%s %s" % (time, line))
                self._is_line_open = not line.endswith((b"\n", b"\r"))
        finally:
            os.close(file)


def servers_with_output() -> list[str]:
    """The names of the servers that have written something, in alphabetical order."""
    return sorted(file.stem for file in (state_folder() / "logs").glob("*.log"))


def last_lines(server: str, count: int) -> list[str]:
    """The last lines of a server's output.

    Raises:
        InputError: there is no output of a server of this name.
    """
    path = output_path(server)
    lines: list[str] = []
    for file in (path.with_suffix(".log.1"), path):
        if file.is_file():
            lines += file.read_text("utf-8", "backslashreplace").splitlines()
    if not lines and not path.is_file():
        names = ", ".join(servers_with_output())
        raise InputError(
            f"{server} has written nothing on its standard error under `pipeguard serve`."
            f" {f'These have: {names}.' if names else 'No server has.'}\n"
            "  Behind `wrap`, what a server writes is in its client's log."
        )
    return lines[-count:] if count else []


def following_lines(server: str) -> Iterator[str]:
    """New lines as they come, for ever; continues with the next file when one is full."""
    path, rest = output_path(server), ""
    file = _open_output(path)
    file.seek(0, os.SEEK_END)
    try:
        while True:
            newer = _newer_file(path, file)
            text = file.read()  # after that look, so no line of a full file is missed
            *lines, rest = (rest + text).split("\n")
            yield from lines
            if newer:
                file.close()
                file = newer
            elif not text:
                sleep(LOOK_SECONDS)
    finally:
        file.close()


def _newer_file(path: Path, file: TextIO) -> TextIO | None:
    """Open the file that took the place of a full one, unless there is none."""
    with suppress(FileNotFoundError):  # it is being replaced
        if path.stat().st_ino != os.fstat(file.fileno()).st_ino:
            return _open_output(path)
    return None


def _open_output(path: Path) -> TextIO:
    return path.open(encoding="utf-8", errors="backslashreplace")
