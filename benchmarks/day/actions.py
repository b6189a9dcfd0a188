"""Actions as they are written out in `actions/` and `twins.yaml`, read strictly.

A document of these files is a group: a server and a tool of it, the kind of action, steps that come
before, and the actions by id. The members of an action are the arguments of the call, apart from
`result` (what the server answers), `expect` and `language`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from benchmarks.detection.cases import Case, CaseError, Split, Way
from benchmarks.detection.cases import Expect as CaseExpect
from benchmarks.detection.json_tree import Object
from benchmarks.detection.variants import variant

FOLDER = Path(__file__).parent
TWINS = "twins.yaml"
_GROUP = frozenset({"kind", "server", "tool", "result", "before", "actions"})
_OWN = frozenset({"result", "expect", "language"})  # members of an action that are no arguments


class Expect(Enum):
    """The outcome that a person would expect."""

    PASS = "pass"
    WARN = "warn"  # a live key in a place of its own: passes, and a warning is right
    REDACT = "redact"  # a live key in what is read: arrives without it
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Step:
    """One call and what the server answers.

    Attributes:
        tool: that is called.
        arguments: of the call.
        result: the text that it answers; None for nothing.
    """

    tool: str
    arguments: Object
    result: str | None


@dataclass(frozen=True, slots=True)
class Action:
    """One action, with secrets minted.

    Attributes:
        id: unique.
        kind: of action.
        split: what it may be used for; the hash of the id decides.
        expect: what should happen.
        language: ISO 639-1.
        server: `{info, tools}`.
        steps: the last is the action, the others come before it.
        secrets: that were minted into it.
    """

    id: str
    kind: str
    split: Split
    expect: Expect
    language: str
    server: Mapping[str, Any]
    steps: tuple[Step, ...]
    secrets: tuple[str, ...]


def load() -> list[Action]:
    """All actions and their twins.

    Raises:
        CaseError: a file is wrong, or an id is taken.
    """
    paths = [*sorted((FOLDER / "actions").glob("*.yaml")), FOLDER / TWINS]
    actions: dict[str, Action] = {}
    for path in paths:
        for action in _read(path):
            if action.id in actions:
                raise CaseError(f"{path}: {action.id}: the id is taken")
            actions[action.id] = action
    return list(actions.values())


@cache
def _servers() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "servers.yaml").read_text("utf-8"))
    return loaded


def _read(path: Path) -> Iterator[Action]:
    default = Expect.STOP if path.name == TWINS else Expect.PASS
    for group in yaml.safe_load_all(path.read_text("utf-8")):
        if unknown := set(group) - _GROUP:
            raise CaseError(f"{path}: {', '.join(sorted(unknown))}: no such member")
        server = _servers()[group["server"]]
        tools = {tool["name"] for tool in server["tools"]}
        before = [_step(step["tool"], step) for step in group.get("before", [])]
        for name, entry in group["actions"].items():
            steps = [*before, _last_step(group, entry)]
            if missing := {step["tool"] for step in steps} - tools:
                raise CaseError(f"{path}: {name}: {missing}: no such tool")
            yield _action(name, group, Expect(entry.get("expect", default.value)), entry, steps)


def _step(tool: str, step: Mapping[str, Any]) -> dict[str, Any]:
    return {"tool": tool, "arguments": step.get("call", {}), "result": step.get("result")}


def _last_step(group: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    call = {name: value for name, value in entry.items() if name not in _OWN}
    result = entry.get("result", group.get("result"))
    return {"tool": group["tool"], "arguments": call, "result": result}


def _action(
    name: str,
    group: Mapping[str, Any],
    expect: Expect,
    entry: Mapping[str, Any],
    steps: list[dict[str, Any]],
) -> Action:
    split = Split.HELD if sha256(name.encode()).digest()[0] % 2 else Split.TUNED
    language = entry.get("language", "en")
    body: dict[str, Any] = {"steps": steps, "tools": []}
    case = Case(name, split, group["kind"], CaseExpect.QUIET, language, Way.FLOW, body)
    played = variant(case, "text")
    minted: Any = played.body["steps"]
    return Action(
        id=name,
        kind=group["kind"],
        split=split,
        expect=expect,
        language=language,
        server=_servers()[group["server"]],
        steps=tuple(Step(**step) for step in minted),
        secrets=played.secrets,
    )
