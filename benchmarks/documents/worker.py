"""Judges documents with the PipeGuard that its interpreter finds: a line of JSON each, in and out.

A process of its own, so that two checkouts can be measured in turn, document by document. It
imports nothing of `benchmarks`, since an older checkout has other ones. With `--without-native` it
runs as where no C compiler was.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from time import thread_time
from typing import Any

from pipeguard.detect.detector import Engines, make_guard
from pipeguard.detect.model.classifier import Classifier
from pipeguard.firewall.finding import Action, Direction, Verdict
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol import strict_json
from pipeguard.firewall.session.events import Frame
from pipeguard.firewall.session.session import Session
from pipeguard.rulebook.cache import load_engines

REVISION = "2025-11-25"
TOOLS = [
    {"name": "read", "inputSchema": {"type": "object"}},
    {"name": "write_file", "inputSchema": {"type": "object"}},
    {"name": "set_field", "inputSchema": {"type": "object"}},
]
STAGES = {"model": "pieces", "network": "network_scores"}  # methods of a classifier
NATIVE = ("_opener", "_network")  # extensions in detect.model
ACTIONS = {action: action.name.lower() for action in Action}


class Stages:
    """The stages of reading that a text reaches.

    Attributes:
        reached: of the last text.
    """

    def __init__(self) -> None:
        """Watch the classifiers of this process."""
        self.reached: set[str] = set()
        for stage, method in STAGES.items():
            self._watch(stage, getattr(Classifier, method), method)

    def _watch(self, stage: str, judged: Callable[..., Any], method: str) -> None:
        def watched(classifier: Classifier, texts: Any, *arguments: Any) -> Any:
            if texts:
                self.reached.add(stage)
            return judged(classifier, texts, *arguments)

        setattr(Classifier, method, watched)


class Measured:
    """A Session of its own for each document: what one carried must not count for the next."""

    def __init__(self, engines: Engines) -> None:
        """Open the conversation."""
        guard = make_guard("documents", engines, Policy(), {}, b"benchmark")
        self._session = Session(guard, "BENCH")
        self._id = 0
        client = {"name": "documents", "version": "1"}
        opening = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client}
        self._ask("initialize", opening)
        self._answer(
            {"protocolVersion": REVISION, "capabilities": {"tools": {}}, "serverInfo": client}
        )
        self._send(Direction.TO_SERVER, {"method": "notifications/initialized"})

    def judge_result(self, text: str) -> tuple[Verdict, float]:
        """Judge a text as the result of a tool."""
        self.judge_definitions(TOOLS)
        self._ask("tools/call", {"name": "read", "arguments": {}})
        return self._answer({"content": [{"type": "text", "text": text}]})

    def judge_arguments(self, text: str) -> tuple[Verdict, float]:
        """Judge a text as what a client writes to a file."""
        return self._judge_call("write_file", {"path": "notes.txt", "content": text})

    def judge_value(self, text: str) -> tuple[Verdict, float]:
        """Judge a line as the value of a field."""
        return self._judge_call("set_field", {"field": "note", "value": text})

    def _judge_call(self, tool: str, arguments: object) -> tuple[Verdict, float]:
        """Judge the second call of a tool: the first reads what its definition says, once."""
        self.judge_definitions(TOOLS)
        self._ask("tools/call", {"name": tool, "arguments": {}})
        self._answer({"content": []})
        judged = self._ask("tools/call", {"name": tool, "arguments": arguments})
        self._answer({"content": []})
        return judged

    def judge_definitions(self, tools: list[Any]) -> tuple[Verdict, float]:
        """Judge definitions of tools."""
        self._ask("tools/list", {})
        return self._answer({"tools": tools})

    def _ask(self, method: str, params: object) -> tuple[Verdict, float]:
        self._id += 1
        return self._send(Direction.TO_SERVER, {"id": self._id, "method": method, "params": params})

    def _answer(self, result: object) -> tuple[Verdict, float]:
        return self._send(Direction.TO_CLIENT, {"id": self._id, "result": result})

    def _send(self, direction: Direction, message: dict[str, object]) -> tuple[Verdict, float]:
        frame = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode()
        began = thread_time()
        verdict = self._session.take(Frame(direction, frame, float(self._id)))
        return verdict, thread_time() - began


def leave_out_native() -> None:
    """Make imports of the extensions fail, so that numpy and Python take their place."""
    for name in NATIVE:
        sys.modules[f"pipeguard.detect.model.{name}"] = None  # type: ignore[assignment]  # no import
    strict_json._NATIVE = None  # imported by now


def main() -> None:
    """Answer each line of standard input: `{"way", "body", "repeat"}`."""
    if "--without-native" in sys.argv[1:]:
        leave_out_native()
    stages, engines = Stages(), load_engines()
    ways: dict[str, Callable[[Measured, Any], tuple[Verdict, float]]] = {
        "result": Measured.judge_result,
        "arguments": Measured.judge_arguments,
        "value": Measured.judge_value,
        "definition": Measured.judge_definitions,
    }
    for line in sys.stdin:
        request = json.loads(line)
        judge, body = ways[request["way"]], request["body"]
        stages.reached.clear()
        runs = [judge(Measured(engines), body) for _ in range(request["repeat"])]
        verdict, _ = runs[0]
        rules = {f"{found.rule}:{ACTIONS[found.action]}" for found in verdict.findings}
        answer = {
            "seconds": min(seconds for _, seconds in runs),
            "bytes": len(verdict.frame),
            "action": ACTIONS[verdict.action],
            "is_whole": verdict.forward == verdict.frame,
            "is_withheld": verdict.forward is None,
            "rules": sorted(rules),
            "stages": sorted(stages.reached),
            "native": [
                name for name in NATIVE if sys.modules.get(f"pipeguard.detect.model.{name}")
            ],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
