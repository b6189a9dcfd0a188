"""A stdio MCP server that costs next to nothing: `server.py FOLDER`.

A call of the tool NAME is answered with the bytes of FOLDER/NAME.json, of the tools `sink` and
`send` with a short result, of the tool `pid` with this process's id. It reads no more of a request
than it must: this benchmark's client writes the id first, and the name before the arguments. Each
result also has the id, so that no two are alike.
"""

import json
import os
import sys
from pathlib import Path

ID = b'{"jsonrpc":"2.0","id":'
NAME = b'"params":{"name":"'
SHORT = b'{"content":[{"type":"text","text":"ok"}]}'
SENDS = "Sends a message to anybody."
INITIALIZED = (
    b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},'
    b'"serverInfo":{"name":"frames","version":"1"}}'
)


def tools(names: list[str]) -> bytes:
    """The answer to `tools/list`."""
    schema = {"type": "object", "properties": {}}
    listed = [
        {
            "name": name,
            "description": SENDS if name == "send" else f"Returns the text {name}.",
            "inputSchema": schema,
        }
        for name in names
    ]
    return json.dumps({"tools": listed}).encode()


def main(folder: Path) -> None:
    """Answer until the client is gone."""
    paths = sorted(folder.glob("*.json"))
    pid = b'{"content":[{"type":"text","text":"%d"}]}' % os.getpid()
    results = {b"sink": SHORT, b"send": SHORT, b"pid": pid}
    results |= {path.stem.encode(): path.read_bytes() for path in paths}
    listed = tools(["sink", "send", "pid", *(path.stem for path in paths)])
    # A pipe gives at most 64 KiB a read on Linux (pipe(7)); a larger buffer only costs.
    with open(0, "rb", buffering=65536, closefd=False) as requests:
        for line in requests:
            if not line.startswith(ID):
                continue  # a notification
            number = line[len(ID) : line.index(b",", len(ID))]
            start = line.find(NAME, 0, 200)
            if start >= 0:
                start += len(NAME)
                result = results[line[start : line.index(b'"', start)]]
            else:
                result = INITIALIZED if b'"initialize"' in line[:200] else listed
            answer = b'%b%b,"result":{"_meta":{"call":%b},%b}\n' % (ID, number, number, result[1:])
            while answer:
                answer = answer[os.write(1, answer) :]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
