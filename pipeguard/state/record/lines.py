"""The lines of a record: each is a JSON object that ends with a hash over it and the line before.

The hashes show damage and careless edits. They prove nothing against somebody who can rewrite the
file.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from pipeguard.errors import InputError

Fields = dict[str, Any]  # of a line, as `json` reads it
FORMAT, VERSION = "pipeguard-record", 1
BEGINNING = b'{"format":"pipeguard-record","version":1,'
MAX_LINE_BYTES = 2**25  # a larger frame has only `bytes`; parsed, a line takes up to 30 times this
SEAL_BYTES = 76  # of the hash, its key and the line's end


def to_text(fields: Fields) -> str:
    """The JSON text of a line without its hash, and without the brace at its end."""
    return json.dumps(fields, separators=(",", ":"))[:-1]


def seal(before: bytes, text: str) -> tuple[bytes, bytes]:
    """Complete a line.

    Args:
        before: the hash of the line before, in hex; empty before the first.
        text: from `to_text`.

    Returns:
        The line's hash, and the line.
    """
    data = text.encode()
    digest = sha256(before + data).hexdigest().encode()
    return digest, b'%s,"hash":"%s"}\n' % (data, digest)


class RecordError(InputError):
    """A record cannot be read, was changed, or has an unknown version; with the line."""


def read_lines(path: Path | str) -> Iterator[tuple[int, Fields]]:
    """Read the lines of a record, the header first, and check each hash.

    Yields:
        The number of each line, from 1, and its fields; not the last line if it is not whole, as of
        a session that runs or was killed.

    Raises:
        RecordError: the file cannot be read, is no record, or a line is damaged, missing or moved.
    """
    if not os.path.isfile(path):  # a pipe would wait for its writer
        raise RecordError(f"{path} is not a file, and has no record.")
    try:
        with open(path, "rb") as file:
            yield from _check_lines(path, file)
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}.") from None


def _check_lines(path: Path | str, file: BinaryIO) -> Iterator[tuple[int, Fields]]:
    before, fields, number = b"", Fields(), 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        where = f"{path}, line {number}"
        if not before and not line.startswith(BEGINNING):
            raise RecordError(f"{where}: it is no record of version {VERSION}.")
        is_after_end = "end" in fields
        if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES and not is_after_end:
            break
        try:
            text = line[:-SEAL_BYTES].decode()
            before, sealed = seal(before, text)
            fields = json.loads(text + "}")  # ends with a brace, so it is an object
        except (ValueError, RecursionError):
            sealed = b""
        if is_after_end or sealed != line:
            raise RecordError(f"{where}: it was changed, or is not whole.")
        yield number, fields
    if not before:
        raise RecordError(f"{path} has no whole line, so it is no record.")


def is_record(path: Path) -> bool:
    """True if a file begins with the header of a record."""
    with suppress(RecordError):
        return bool(next(read_lines(path)))
    return False


def read_frame(fields: Fields) -> bytes | None:
    """The frame of a line; None if it was withheld.

    Raises:
        ValueError, TypeError, AttributeError: it is no text.
    """
    if "frame64" in fields:
        return b64decode(fields["frame64"])
    text = fields.get("frame")
    return None if text is None else text.encode("utf-8", "surrogatepass")
