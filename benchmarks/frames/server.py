"""A stdio MCP server that costs next to nothing: `server.py FOLDER`.

Two tools do the same, one by a name that reads and one by a name that acts: called with `{"ref":
NAME}` they answer with the bytes of FOLDER/NAME.json, otherwise with a short result. The tool `pid`
answers with this process's id. The server reads no more of a request than it must: this benchmark's
client writes the id first, and the name before the arguments.
"""

import json
import os
import re
import sys
from functools import lru_cache
from pathlib import Path

ID = b'{"jsonrpc":"2.0","id":'
NAME = re.compile(rb'"name"\s*:\s*"(\w+)"')
REF = re.compile(rb'"ref"\s*:\s*"([^"]+)"')
KEPT = 300  # answers, more than come again and again
HEAD_BYTES = 300  # of a request, in which both are
SHORT = b'{"content":[{"type":"text","text":"ok"}]}'
TOOLS = {
    "lookup": "Reads a text and returns it.",
    "update_record": "Updates a record and returns its text.",
    "pid": "Returns the id of this process.",
}
INITIALIZED = (
    b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},'
    b'"serverInfo":{"name":"frames","version":"1"}}'
)


def tools() -> bytes:
    """The answer to `tools/list`."""
    schema = {"type": "object", "properties": {}}
    listed = [
        {"name": name, "description": description, "inputSchema": schema}
        for name, description in TOOLS.items()
    ]
    return json.dumps({"tools": listed}).encode()


def main(folder: Path) -> None:
    """Answer until the client is gone."""
    own_pid = b'{"content":[{"type":"text","text":"%d"}]}' % os.getpid()
    listed = tools()

    @lru_cache(KEPT)
    def stored(ref: bytes) -> bytes:
        return (folder / f"{ref.decode()}.json").read_bytes()

    # A pipe gives at most 64 KiB a read on Linux (pipe(7)); a larger buffer only costs.
    with open(0, "rb", buffering=65536, closefd=False) as requests:
        for line in requests:
            if not line.startswith(ID):
                continue  # a notification
            number = line[len(ID) : line.index(b",", len(ID))]
            if b'"tools/call"' in line[:HEAD_BYTES]:
                name, ref = NAME.search(line), REF.search(line, 0, HEAD_BYTES)
                is_pid = name is not None and name[1] == b"pid"
                result = stored(ref[1]) if ref else own_pid if is_pid else SHORT
            else:
                result = INITIALIZED if b'"initialize"' in line[:HEAD_BYTES] else listed
            answer = b'%b%b,"result":%b}\n' % (ID, number, result)
            while answer:
                answer = answer[os.write(1, answer) :]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
