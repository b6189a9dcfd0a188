"""A record as a session writes it."""

from pathlib import Path
from typing import Any

from pipeguard.state.record.lines import FORMAT, VERSION, seal, to_text

HEADER = {"format": FORMAT, "version": VERSION, "run": "R1", "started": "2026-12-01T03:00:00.000Z"}
CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\u001b[2Jecho"}}'
RESULT = '{"jsonrpc":"2.0","id":1,"result":{}}'
LINES: tuple[dict[str, Any], ...] = (
    HEADER,
    {"n": 1, "t": 0.0, "server": "demo", "what": "server", "pins": {}},
    {"n": 2, "t": 0.25, "server": "demo", "from": "client", "frame": CALL, "action": "allow"},
    {"n": 3, "t": 0.5, "server": "demo", "from": "server", "frame": RESULT, "action": "block"}
    | {"rules": ["injection.a", "secrets.b"]},
    {"end": "closed", "frames": 2, "lost": 0},
)


def write_record(path: Path, *lines: Any) -> Path:
    """Write lines with their hashes; a text is that of a whole line."""
    digest, content = b"", b""
    for line in lines or LINES:
        digest, sealed = seal(digest, line if isinstance(line, str) else to_text(line))
        content += sealed
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path
