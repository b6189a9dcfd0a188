"""A stdio MCP server with the answers of a file: `scripted.py FILE`. Standard library only.

FILE has JSON: `tools`, `prompts`, `resources` and `resourceTemplates` (definitions), `instructions`
and `answers` (by tool: an object with `result` or `error`).
"""

import json
import sys
from pathlib import Path

SCRIPT = json.loads(Path(sys.argv[1]).read_text("utf-8"))
ECHO = {"result": {"content": [{"type": "text", "text": "done"}]}}
LISTS = {f"{name}/list": name for name in ("tools", "prompts", "resources")}
LISTS["resources/templates/list"] = "resourceTemplates"

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
        if "instructions" in SCRIPT:
            described["instructions"] = SCRIPT["instructions"]
        capabilities: dict[str, object] = {
            name: {} for name in ("tools", "prompts", "resources") if name in SCRIPT
        }
        answer = {"result": {**described, "capabilities": capabilities}}
    elif message["method"] in LISTS:
        member = LISTS[message["method"]]
        answer = {"result": {member: SCRIPT.get(member, [])}}
    elif message["method"] == "prompts/get":
        answer = {"result": {"messages": []}}
    elif message["method"] == "resources/read":
        answer = {"result": {"contents": [{"uri": params["uri"], "text": "done"}]}}
    elif message["method"] == "tools/call":
        answer = SCRIPT.get("answers", {}).get(params["name"], ECHO)
    frame = {"jsonrpc": "2.0", "id": message["id"], **answer}
    sys.stdout.write(json.dumps(frame) + "\n")
    sys.stdout.flush()
