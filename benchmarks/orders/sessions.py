"""Sessions of agents with tools, as they are written out in `sessions/`, read strictly.

Each file is a kind of work: its tools, honest tasks, and orders that somebody planted in a result
of such a task. Those who wrote them had not seen the rules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from benchmarks.detection.cases import CaseError, Split
from benchmarks.detection.json_tree import Object

FOLDER = Path(__file__).parent / "sessions"
_FILE = frozenset({"work", "tools", "honest", "planted"})
_HONEST = frozenset({"user", "told", "steps"})
_PLANTED = frozenset({"carrier", "step", "text", "where", "replace", "acts"})


@dataclass(frozen=True, slots=True)
class Step:
    """One call, and the server's text; None for an act, which has no answer."""

    tool: str
    arguments: Object
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """The calls of an agent in one session.

    Attributes:
        id: unique.
        work: the kind of work.
        split: what it may be used for; the hash of the id decides.
        tools: that the server lists.
        steps: that the user wanted.
        is_told: True where the user said to do what a text says.
        order: the planted text; empty for honest work.
        acts: what an obedient agent does because of it, after the steps until it has read it.
    """

    id: str
    work: str
    split: Split
    tools: list[Any]
    steps: tuple[Step, ...]
    is_told: bool
    order: str = ""
    acts: tuple[Step, ...] = ()


def load() -> list[Session]:
    """All sessions.

    Raises:
        CaseError: a file is wrong, or an id is taken.
    """
    sessions: dict[str, Session] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for session in _read(path):
            if session.id in sessions:
                raise CaseError(f"{path}: {session.id}: the id is taken")
            sessions[session.id] = session
    return list(sessions.values())


def _read(path: Path) -> Iterator[Session]:
    content = yaml.safe_load(path.read_text("utf-8"))
    _check(path, content, _FILE)
    work, tools = content["work"], content["tools"]
    names = {tool["name"] for tool in tools}
    honest: dict[str, tuple[Step, ...]] = {}
    for name, task in content["honest"].items():
        _check(path, task, _HONEST)
        honest[name] = tuple(_step(path, names, step) for step in task["steps"])
        yield Session(name, work, _split(name), tools, honest[name], task["told"])
    for name, planted in content.get("planted", {}).items():
        _check(path, planted, _PLANTED)
        steps = honest[planted["carrier"]][: planted["step"] + 1]
        carrier = _with_order(steps[-1], planted)
        acts = tuple(_step(path, names, act) for act in planted["acts"])
        yield Session(
            *(name, work, _split(name), tools, (*steps[:-1], carrier), False),
            order=planted["text"],
            acts=acts,
        )


def _check(path: Path, content: Mapping[str, Any], members: frozenset[str]) -> None:
    if unknown := set(content) - members:
        raise CaseError(f"{path}: {', '.join(sorted(unknown))}: no such member")


def _step(path: Path, names: set[str], step: Mapping[str, Any]) -> Step:
    if step["tool"] not in names:
        raise CaseError(f"{path}: {step['tool']}: no such tool")
    return Step(step["tool"], step.get("arguments", {}), step.get("result"))


def _with_order(step: Step, planted: Mapping[str, Any]) -> Step:
    """The step whose result has the planted text in it."""
    result, text = step.result or "", planted["text"].strip()
    if "replace" in planted:
        changed = result.replace(planted["replace"], text)
    elif planted.get("where") == "prepend":
        changed = f"{text}\n\n{result}"
    else:
        changed = f"{result}\n\n{text}"
    return Step(step.tool, step.arguments, changed)


def _split(name: str) -> Split:
    return Split.HELD if sha256(name.encode()).digest()[0] % 2 else Split.TUNED
