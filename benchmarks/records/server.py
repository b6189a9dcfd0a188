"""A stdio MCP server that says what a file tells it to: `server.py FILE`.

The file has a JSON object: by the JSON text of a request's id, the frames that follow it.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Answer until the client is gone."""
    answers = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    for line in sys.stdin.buffer:
        message = json.loads(line)
        for frame in answers.pop(json.dumps(message.get("id")), ()):
            sys.stdout.buffer.write(frame.encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
