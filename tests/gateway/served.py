"""A client of a real `pipeguard serve`, over real pipes or at a real address."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.forking import PIPEGUARD
from tests.listening import Process
from tests.wrap.wrapped import PYTHON, SERVER, Json, Object, Wrapped

ACTOR = [*PYTHON, str(SERVER)]
AT_ONCE = ("--drain", "0", "--log-level", "info")


def actor(*words: str, trust: str = "first-use", **settings: Json) -> Object:
    """Make an entry for the tests' own server."""
    program, *arguments = [*ACTOR, *words]
    return {"command": program, "args": [*arguments], "trust": trust, **settings}


def write_servers(folder: Path, servers: Mapping[str, Object], **settings: Json) -> Path:
    """Write the file of servers atomically, as an editor does."""
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / "pipeguard.yaml", folder / "pipeguard.yaml.new"
    draft.write_text(json.dumps({**settings, "servers": dict(servers)}))
    draft.chmod(0o600)
    draft.replace(path)
    return path


class Served(Wrapped):
    """One run of `serve` over stdio."""

    verb = "serve"

    def __init__(self, folder: Path, *options: str, pipeguard: Sequence[str] = PIPEGUARD) -> None:
        options = ("--log-level", "info", *options)
        super().__init__(folder, command=(), options=options, pipeguard=pipeguard)

    def call(self, tool: str, **arguments: Json) -> str:
        """Call a tool; return the text of its answer."""
        return text_of(self.ask("tools/call", name=tool, arguments=arguments))


class ServedAt(Process):
    """One run of `serve` at an address of loopback."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store = folder / "state" / "pipeguard.db"
        super().__init__(
            folder / "serving.log",
            [*PIPEGUARD, "serve", *AT_ONCE, "--listen", "127.0.0.1:0", *options],
            {"PIPEGUARD_STATE_DIR": str(folder / "state"), **environment},
            told_on_stderr=True,
        )


def text_of(answer: Object) -> str:
    """The text of an answer to `tools/call`."""
    result = answer.get("result")
    assert isinstance(result, dict), answer
    content = result["content"]
    assert isinstance(content, list)
    return "\n".join(str(block["text"]) for block in content if isinstance(block, dict))


def environment_of_state(folder: Path) -> dict[str, str]:
    """The environment of another command that shares the state of a run in a folder."""
    return {**os.environ, "PIPEGUARD_STATE_DIR": str(folder / "state")}
