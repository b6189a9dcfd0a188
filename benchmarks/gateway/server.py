"""A stdio MCP server that costs next to nothing: `server.py NAME`; its one tool is `echo_NAME`."""

import json
import os
import sys

ID = b'"id":'


def main(name: str) -> None:
    """Answer until the client is gone."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    tool = {
        "name": f"echo_{name}",
        "description": f"Returns a text of {name}.",
        "inputSchema": schema,
    }
    listed = json.dumps({"tools": [tool]}).encode()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "id" not in request:
            continue
        if request["method"] == "initialize":
            result = json.dumps(
                {
                    "protocolVersion": request["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": name, "version": "1"},
                }
            ).encode()
        elif request["method"] == "tools/list":
            result = listed
        elif request["method"] == "tools/call":
            content = [{"type": "text", "text": request["params"]["arguments"]["text"]}]
            result = json.dumps({"content": content}).encode()
        else:
            result = b"{}"
        os.write(
            1,
            b'{"jsonrpc":"2.0","id":%b,"result":%b}\n'
            % (json.dumps(request["id"]).encode(), result),
        )


if __name__ == "__main__":
    main(sys.argv[1])
