"""The home folder of somebody who has five clients, with realistic files.

Comments, Windows line ends, a byte order mark, a broken file, secrets in clear, started and remote
servers, one that is switched off, a client's own login.
"""

import json
import sys
from pathlib import Path

from tests.wrap.wrapped import SERVER

SECRET = "zq7" + "Rt55Kp0s81LmVw"  # of no real service
BOM = "\ufeff"
BROKEN = ".cursor/mcp.json"
_PYTHON, _SERVER = json.dumps(sys.executable), json.dumps(str(SERVER))

TEXTS = {
    ".claude.json": f"""{BOM}{{
  "numStartups": 12,
  "mcpServers": {{
    "demo": {{"type": "stdio", "command": {_PYTHON}, "args": ["-I", "-u", {_SERVER}],
             "env": {{"DEMO_TOKEN": "{SECRET}"}}}},
    "linear": {{"type": "http", "url": "https://mcp.example.com/mcp"}}
  }},
  "projects": {{
    "/srv/app": {{"allowedTools": [], "mcpServers": {{"local": {{"command": "srv"}}}}}}
  }}
}}
""",
    ".config/Claude/claude_desktop_config.json": """{
\t"globalShortcut": "",
\t"mcpServers": {
\t\t"filesystem": {"command": "npx", "args": ["-y", "mcp-filesystem", "/home/ada"]},
\t\t"off": {"command": "srv", "disabled": true}
\t}
}""",
    BROKEN: """{
  "mcpServers": {
    "files": {"command": "npx", "args": ["-y", "srv"}
  }
}
""",
    ".config/Code/User/mcp.json": f"""{{
  // the servers of everybody
  "inputs": [{{"id": "tok", "type": "promptString", "password": true}}],
  "servers": {{
    "github": {{
      "type": "http",
      "url": "https://api.example.com/mcp", /* theirs */
      "headers": {{"Authorization": "Bearer ${{input:tok}}"}},
    }},
    "database": {{"command": "uvx", "args": ["mcp-db", "--password", "{SECRET}"]}},
  }},
}}
""",
    ".codex/config.toml": f"""model = "m" # mine

[mcp_servers.fetch] # notes
command = "uvx"
args = ["mcp-fetch@1.2.3"]

[mcp_servers.fetch.env]
API_KEY = "{SECRET}"

[mcp_servers.docs]
url = "https://docs.example.com/mcp"
bearer_token_env_var = "DOCS_TOKEN"
""".replace("\n", "\r\n"),
}


def furnish(home: Path) -> dict[str, bytes]:
    """Write all files, and return their contents."""
    for place, text in TEXTS.items():
        path = home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
        path.chmod(0o600)
    return contents(home)


def contents(home: Path) -> dict[str, bytes]:
    """Read the clients' files."""
    return {place: (home / place).read_bytes() for place in TEXTS}
