"""A stdio MCP server with skills and pages, from a JSON file that it reads again for each request.

The file has `skills` (entries), `files` (texts by address) and `called` (the result of its tool).
It uses only the standard library, and knows nothing of PipeGuard.
"""

import base64
import json
import sys
from pathlib import Path

EXTENSION = {"io.modelcontextprotocol/skills": {"directoryRead": True}}


def answer(method: str, params: dict[str, str]) -> dict[str, object]:
    """The result of a request; a KeyError for what is not there."""
    offered = json.loads(Path(sys.argv[1]).read_text())
    if method == "initialize":
        capabilities = {"tools": {}, "resources": {}, "extensions": EXTENSION}
        info = {"name": "skills", "version": "1"}
        revision = params["protocolVersion"]
        return {"protocolVersion": revision, "capabilities": capabilities, "serverInfo": info}
    uri = params.get("uri", "")
    text = offered["files"].get(uri, "")
    blob = base64.b64encode(text.encode()).decode()
    folder = [{"uri": file, "name": file} for file in offered["files"] if file.startswith(uri)]
    entries = {entry["uri"]: entry for entry in offered["skills"]}
    results: dict[str, dict[str, object]] = {
        "tools/list": {"tools": [{"name": "show", "inputSchema": {"type": "object"}}]},
        "resources/list": {"resources": []},
        "resources/templates/list": {"resourceTemplates": []},
        "skills/list": {"skills": offered["skills"]},
        "skills/get": {"skill": entries.get(uri)},
        "resources/directory/read": {"resources": folder},
        "resources/read": {
            "contents": [{"uri": uri, **({"blob": blob} if "blob" in uri else {"text": text})}]
        },
        "tools/call": {"content": [{"type": "resource", "resource": offered.get("called")}]},
    }
    return results[method]


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            reply: dict[str, object] = {"jsonrpc": "2.0", "id": message["id"]}
            try:
                reply["result"] = answer(message["method"], message.get("params", {}))
            except KeyError:
                reply["error"] = {"code": -32601, "message": "no such method"}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
