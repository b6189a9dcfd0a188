"""A stdio MCP server that counts its calls: `counting.py FILE`. Standard library only.

`count` appends its `id` to FILE, and answers it after some seconds, while others are answered.
"""

import json
import os
import sys
import threading

FILE = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "seconds": {"type": "number"}},
    "required": ["id"],
}
TOOL = {"name": "count", "description": "Counts a call.", "inputSchema": SCHEMA}
WRITING = threading.Lock()


def answer(number: object, result: object) -> None:
    frame = json.dumps({"jsonrpc": "2.0", "id": number, "result": result})
    with WRITING:
        sys.stdout.write(frame + "\n")
        sys.stdout.flush()


for line in sys.stdin:
    message = json.loads(line)
    method, params = message.get("method"), message.get("params", {})
    if "id" not in message:
        continue
    if method == "initialize":
        info = {"name": "counting", "version": "1"}
        shown = {"protocolVersion": params["protocolVersion"], "serverInfo": info}
        answer(message["id"], {**shown, "capabilities": {"tools": {}}})
    elif method == "tools/list":
        answer(message["id"], {"tools": [TOOL]})
    elif method == "tools/call":
        given = params["arguments"]
        os.write(FILE, given["id"].encode() + b"\n")
        result = {"content": [{"type": "text", "text": given["id"]}]}
        later = threading.Timer(given.get("seconds", 0.0), answer, (message["id"], result))
        later.daemon = True
        later.start()
    else:
        answer(message["id"], {})
