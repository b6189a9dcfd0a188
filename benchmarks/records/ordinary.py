"""Sessions without secrets: actions of a developer's day, real documents, real definitions."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.day.actions import Action, Expect, Step, load
from benchmarks.detection.harvest import definitions
from benchmarks.documents.corpus import documents
from benchmarks.records.cases import Script, Talk

A_SESSION = 25  # actions or documents
WRITTEN = 4  # one document in four is written
LARGEST = 60_000  # characters of a document
FILES = [{"name": name, "inputSchema": {"type": "object"}} for name in ("read", "write_file")]


def ordinary_scripts(count: int) -> Iterator[tuple[str, Script]]:
    """Sessions with their kinds.

    Args:
        count: of documents.
    """
    by_server: dict[str, list[Action]] = {}
    for action in load():
        if action.expect is Expect.PASS and not action.secrets:
            by_server.setdefault(action.server["info"]["name"], []).append(action)
    for actions in by_server.values():
        for start in range(0, len(actions), A_SESSION):
            yield "day", _day(actions[start : start + A_SESSION])
    texts = [text for each in documents(count) if (text := each.text())]
    for start in range(0, len(texts), A_SESSION):
        yield "documents", _reading(texts[start : start + A_SESSION])
    tools = [tool for case in definitions() for tool in _list(case.body["tools"])]
    for start in range(0, len(tools), A_SESSION):
        yield "definitions", Script(Talk("files", tools[start : start + A_SESSION]).frames)


def hour_script(calls: int) -> Script:
    """A session of an agent: half of its calls read and write files, half are of a day."""
    steps = [step for action in load() if not action.secrets for step in action.steps]
    talk = Talk("files", FILES)
    texts = [text for each in documents(calls // 2) if (text := each.text())]
    for number in range(calls // 2):
        _read(talk, number, texts[number % len(texts)])
        _act(talk, steps[number % len(steps)])
    return Script(talk.frames)


def _list(value: Any) -> list[Any]:
    return [*value]


def _day(actions: Sequence[Action]) -> Script:
    server: Any = actions[0].server
    talk = Talk(server["info"]["name"], server["tools"])
    for step in (step for action in actions for step in action.steps):
        _act(talk, step)
    return Script(talk.frames)


def _act(talk: Talk, step: Step) -> None:
    talk.add({"tool": step.tool, "arguments": step.arguments, "text": step.result or ""})


def _reading(texts: Sequence[str]) -> Script:
    talk = Talk("files", FILES)
    for number, text in enumerate(texts):
        _read(talk, number, text)
    return Script(talk.frames)


def _read(talk: Talk, number: int, text: str) -> None:
    if number % WRITTEN == 0:
        written = {"path": "notes.txt", "content": text[:LARGEST]}
        talk.add({"tool": "write_file", "arguments": written})
    talk.add({"tool": "read", "arguments": {"path": f"docs/{number}.md"}, "text": text[:LARGEST]})
