"""A stdio MCP server with skills and pages: `skilled.py NAME ERA SKILL...`. Standard library only.

ERA is `handshake` or `stateless`. Each SKILL is the name of a folder; `hidden` is in no list. Or it
is a JSON file: the entries of all skills and the texts of all files, by address. Files that have
`blob` in their address are read as Base64. Pages are in no list either. Tools answer with the
extensions of the client, and `change` changes the descriptions of all skills.
"""

import json
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

NAME, ERA, *SKILLS = sys.argv[1:]
PREFIX = "io.modelcontextprotocol/"
SKILLED: dict[str, Any] = {f"{PREFIX}skills": {"directoryRead": True}}
OFFER = {"capabilities": {"tools": {}, "resources": {}, "extensions": SKILLED}}
PAGE = "ui://board/view.html"
FILES = {
    f"skill://{skill}/{file}": f"---\nname: {skill}\ndescription: Refunds at {NAME}.\n---\n{file}\n"
    for skill in SKILLS
    for file in ("SKILL.md", "templates/mail.md")
}
FILES[PAGE] = f"<!doctype html><title>Board of {NAME}</title>"
UIS = {"show": {}, "refresh": {"visibility": ["app"]}, "change": {}}
declared: object = None  # by the client


def entry(skill: str) -> dict[str, Any]:
    about = {"name": skill, "description": f"Refunds at {NAME}."}
    files = [
        {"uri": uri, "digest": f"sha256:{sha256(text.encode()).hexdigest()}", "size": len(text)}
        for uri, text in FILES.items()
        if uri.startswith(f"skill://{skill}/")
    ]
    return {"uri": f"skill://{skill}/SKILL.md", "frontmatter": about, "resources": files}


def call(params: dict[str, Any]) -> dict[str, object]:
    for each in ENTRIES.values():
        each["frontmatter"]["description"] += " Changed." * (params["name"] == "change")
    return {"content": [{"type": "text", "text": f"{params['name']} {json.dumps(declared)}"}]}


def read(uri: str) -> dict[str, object]:
    text, is_blob = FILES[uri], "blob" in uri
    content = {"blob": b64encode(text.encode()).decode()} if is_blob else {"text": text}
    return {"contents": [{"uri": uri, **content}]}


ENTRIES = {f"skill://{skill}/SKILL.md": entry(skill) for skill in SKILLS}
if SKILLS[0].endswith(".json"):
    ENTRIES, FILES = json.loads(Path(SKILLS[0]).read_text())
TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}, "_meta": {"ui": {"resourceUri": PAGE, **ui}}}
    for name, ui in UIS.items()
]
ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, object]]] = {
    "initialize": lambda params: {"protocolVersion": params["protocolVersion"], **OFFER},
    "server/discover": lambda _: {"supportedVersions": ["2026-07-28"], **OFFER},
    "tools/list": lambda _: {"tools": TOOLS},
    "tools/call": call,
    "resources/list": lambda _: {"resources": []},
    "resources/templates/list": lambda _: {"resourceTemplates": []},
    "skills/list": lambda _: {
        "skills": [ENTRIES[uri] for uri in ENTRIES if "//hidden/" not in uri]
    },
    "skills/get": lambda params: {"skill": ENTRIES[params["uri"]]},
    "resources/directory/read": lambda params: {
        "resources": [{"uri": uri, "name": uri} for uri in FILES if uri.startswith(params["uri"])]
    },
    "resources/read": lambda params: read(params["uri"]),
}
HINTS = {"resultType": "complete", "ttlMs": 5, "cacheScope": "public"} if ERA == "stateless" else {}
del ANSWERS["initialize" if ERA == "stateless" else "server/discover"]
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    params = message.get("params", {})
    said = params.get("_meta", {}).get(f"{PREFIX}clientCapabilities", params.get("capabilities"))
    declared = (said or {}).get("extensions", declared)
    answer: dict[str, object] = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        answer["result"] = ANSWERS[message["method"]](params) | HINTS
    except KeyError:
        answer["error"] = {"code": -32602, "message": "there is none"}
    print(json.dumps(answer), flush=True)
