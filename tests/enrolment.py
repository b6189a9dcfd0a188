"""A machine or an account that follows an organisation, whose bundles need no right signature.

`wrap` and `serve` check none: the file is as well protected as the key beside it.
"""

import json
import time
from base64 import urlsafe_b64encode
from pathlib import Path


def make_token(policy: object = "", version: object = 1, **claims: object) -> str:
    """Return a compact JWS whose signature nobody made."""
    given = {"version": version, "iat": int(time.time()), "policy": policy, **claims}
    parts = json.dumps({"alg": "EdDSA"}), json.dumps(given), "signature"
    return ".".join(urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


def enrol(folder: Path, *tokens: str) -> Path:
    """Write an enrolment and its bundles into a folder; return the bundles' file."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    (folder / "follow.yaml").write_text("url: https://policies.example.com/mcp.jws\nkey: {}\n")
    bundles = folder / "bundles.jws"
    if tokens:
        bundles.write_text("".join(f"{token}\n" for token in tokens))
    return bundles
