"""A stdio MCP server with skills and pages: `skilled.py NAME ERA SKILL...`. Standard library only.

ERA is `handshake` or `stateless`. Each SKILL is the name of a folder; one that begins with `hidden`
is in no list. Pages are in no list either. Tools answer with the extensions of the client, and
`change` changes the descriptions of all skills.
"""

import hashlib
import json
import sys
from collections.abc import Callable
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
UIS = {"show": {}, "refresh": {"visibility": ["app"]}, "change": {}}
words = {"description": f"Refunds at {NAME}."}
declared: object = None  # by the client


def entry(uri: str) -> dict[str, object]:
    folder = uri.removesuffix("SKILL.md")
    files = [{"uri": each} for each in FILES if each.startswith(folder)]
    for file in files:
        text = FILES[file["uri"]].encode()
        file |= {"digest": f"sha256:{hashlib.sha256(text).hexdigest()}", "size": len(text)}  # type: ignore[dict-item]
    return {"uri": uri, "frontmatter": {"name": folder.split("/")[2], **words}, "resources": files}


def call(params: dict[str, Any]) -> dict[str, object]:
    words["description"] += " Changed." * (params["name"] == "change")
    return {"content": [{"type": "text", "text": f"{params['name']} {json.dumps(declared)}"}]}


TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}, "_meta": {"ui": {"resourceUri": PAGE, **ui}}}
    for name, ui in UIS.items()
]
CONTENTS = {**FILES, PAGE: f"<!doctype html><title>Board of {NAME}</title>"}
MAIN = [f"skill://{skill}/SKILL.md" for skill in SKILLS]
ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, object]]] = {
    "initialize": lambda params: {"protocolVersion": params["protocolVersion"], **OFFER},
    "server/discover": lambda _: {"supportedVersions": ["2026-07-28"], **OFFER},
    "tools/list": lambda _: {"tools": TOOLS},
    "tools/call": call,
    "resources/list": lambda _: {"resources": []},
    "resources/templates/list": lambda _: {"resourceTemplates": []},
    "skills/list": lambda _: {"skills": [entry(uri) for uri in MAIN if "hidden" not in uri]},
    "skills/get": lambda params: {"skill": entry(MAIN[MAIN.index(params["uri"])])},
    "resources/directory/read": lambda params: {
        "resources": [{"uri": uri, "name": uri} for uri in FILES if uri.startswith(params["uri"])]
    },
    "resources/read": lambda params: {
        "contents": [{"uri": params["uri"], "text": CONTENTS[params["uri"]]}]
    },
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
    except (KeyError, ValueError):
        answer["error"] = {"code": -32602, "message": "there is none"}
    print(json.dumps(answer), flush=True)
