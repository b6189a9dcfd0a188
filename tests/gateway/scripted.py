"""A stdio MCP server that says what a file says: `scripted.py FILE`. Standard library only.

FILE has JSON: `tools` (definitions) and `answers` (by tool: an object with `result` or `error`).
"""

import json
import sys
from pathlib import Path

SCRIPT = json.loads(Path(sys.argv[1]).read_text("utf-8"))
ECHO = {"result": {"content": [{"type": "text", "text": "done"}]}}

for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    params = message.get("params", {})
    answer: dict[str, object] = {"result": {}}
    if message["method"] == "initialize":
        info = {"name": "scripted", "version": "1"}
        revision = params["protocolVersion"]
        described = {"protocolVersion": revision, "serverInfo": info}
        answer = {"result": {**described, "capabilities": {"tools": {}}}}
    elif message["method"] == "tools/list":
        answer = {"result": {"tools": SCRIPT["tools"]}}
    elif message["method"] == "tools/call":
        answer = SCRIPT["answers"].get(params["name"], ECHO)
    frame = {"jsonrpc": "2.0", "id": message["id"], **answer}
    sys.stdout.write(json.dumps(frame) + "\n")
    sys.stdout.flush()
