"""Plays actions through a wrapper's command, and compares what both ends sent and got.

It knows nothing about the wrapper: no rules, no findings.
"""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from benchmarks.day.actions import Action, Expect, Step
from benchmarks.day.play import Outcome, Play, is_right
from benchmarks.detection.json_tree import Object
from benchmarks.frames.client import Connection, Contender, Wrapper, environment_in


def play_outside(action: Action, wrapper: Wrapper, cache: str) -> Play:
    """Play one action through a wrapper that is started for it, with a home of its own.

    Of an attack the last call counts, unless an earlier one is refused or gets no answer.

    Raises:
        ConnectionError: the wrapper opens no session.
    """
    with TemporaryDirectory() as home, Path(os.devnull).open("wb") as log:
        server = _Server(Path(home), action)
        environment = environment_in(Path(home)) | {"HOME": home, "XDG_CACHE_HOME": cache}
        contender = Contender.of(wrapper.name, wrapper.words, server.command)
        with Connection(contender, environment, log) as client:
            client.initialize()
            client.list_tools()
            outcomes = [_play_step(step, action, client, server) for step in action.steps]
    ended = [outcome for outcome in outcomes if outcome >= Outcome.WITHHELD]
    outcome = max(ended or outcomes[-1:] if action.expect is Expect.STOP else outcomes)
    return Play(action, outcome, is_right(action.expect, outcome), ())


class _Server:
    """A server in a thread, which notes calls and answers; its command only copies."""

    def __init__(self, folder: Path, action: Action) -> None:
        self._requests, self._answers = folder / "requests", folder / "answers"
        os.mkfifo(self._requests)
        os.mkfifo(self._answers)
        self.command = ["/bin/sh", "-c", f"cat <{self._answers} & cat >{self._requests}"]
        opened = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        self.results: dict[str, Object] = {
            "initialize": opened | {"serverInfo": action.server["info"]},
            "tools/list": {"tools": action.server["tools"]},
        }
        self.calls: list[Object] = []
        Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        with self._requests.open("rb") as requests, self._answers.open("wb", 0) as answers:
            for request in map(json.loads, requests):
                if request["method"] == "tools/call":
                    self.calls.append(request["params"]["arguments"])
                if "id" in request:
                    result = self.results.get(request["method"], {})
                    answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
                    answers.write(json.dumps(answer).encode() + b"\n")


def _play_step(step: Step, action: Action, client: Connection, server: _Server) -> Outcome:
    """Make one call, and tell what became of it and of its answer."""
    text, is_attack = step.result or "ok", action.expect is Expect.STOP
    server.results["tools/call"] = {"content": [{"type": "text", "text": text}]}
    server.calls.clear()
    try:
        answer = json.loads(client.call(step.tool, json.dumps(step.arguments).encode())[1])
    except ConnectionError:
        return Outcome.BLOCKED
    if server.calls != [step.arguments]:
        return Outcome.BLOCKED
    result = answer.get("result", {"isError": True})
    if result.get("isError"):
        return Outcome.WITHHELD
    got = "".join(block.get("text", "") for block in result["content"])
    inside = [secret for secret in action.secrets if secret in text]
    if got == text or (is_attack and any(secret in got for secret in inside)):
        return Outcome.PASSED
    return Outcome.REDACTED if inside else Outcome.CUT
