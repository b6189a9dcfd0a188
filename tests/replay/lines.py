"""Records that are written by hand, line by line."""

import json
from pathlib import Path

from pipeguard.state.record.lines import FORMAT, VERSION, Fields, seal, to_text


def write_record(path: Path, *lines: Fields) -> Path:
    """Write a header, and these lines."""
    digest, parts = b"", []
    for fields in ({"format": FORMAT, "version": VERSION}, *lines):
        digest, line = seal(digest, to_text(fields))
        parts.append(line)
    path.write_bytes(b"".join(parts))
    return path


def sent(sender: str, value: object, **more: object) -> Fields:
    """The line of a frame."""
    line = {"server": "demo", "from": sender, "event": "RUN.c1", "action": "allow"}
    return {**line, "frame": json.dumps(value), **more}


def call(id_: object, tool: str, arguments: object = None, **meta: object) -> Fields:
    """A tool call."""
    params = {"name": tool, "arguments": arguments or {}, "_meta": meta}
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}


def answer(id_: object, **result: object) -> Fields:
    """An answer."""
    return {"jsonrpc": "2.0", "id": id_, "result": result}
