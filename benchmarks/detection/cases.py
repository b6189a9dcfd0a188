"""Case files: read, checked, and each case made ready to play in each of its views.

A case becomes one JSON tree, its body; secrets are minted into it and a disguise is put over the
strings that hold the attack. What is sent of the body, and what becomes of it, stands in play.py.
"""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import yaml

from benchmarks.detection.disguise import DISGUISES, VIEWS, split
from benchmarks.detection.mint import formats, mint

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Object = dict[str, Json]
Steps = tuple[str | int, ...]  # from the body down to a string

FOLDER = Path(__file__).with_name("cases")
_MINT = re.compile(r"\{\{mint:([a-z0-9-]+)((?:#\d+)?)\}\}")  # `#2` is another one of the same form
_HIDE = re.compile(r"\{\{hide:((?:\{\{mint:[a-z0-9#-]+\}\}|(?!\}\}).)*)\}\}", re.DOTALL)
_LEFT_OVER = re.compile(r"\{\{(?:mint|hide):")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
_MEMBERS = frozenset(
    {
        *("id", "class", "expect", "language", "as", "views"),
        *("text", "blocks", "value", "method", "tool", "tools", "server", "steps"),
    }
)
_STEP_MEMBERS = frozenset({"tool", "arguments", "result"})
ANSWERED = ("tools/call", "resources/read", "prompts/get")


class Split(Enum):
    """What a case may be used for."""

    TUNED = "tuned"  # rules may be worked on with it
    HELD = "held"  # only measures


class Expect(Enum):
    """What should become of a case."""

    BLOCK = "block"
    WARN = "warn"  # at least a warning
    QUIET = "quiet"


class Way(Enum):
    """In what a case travels."""

    RESULT = "result"
    ARGUMENTS = "arguments"
    DEFINITION = "definition"
    FLOW = "flow"


class CaseError(Exception):
    """A case file is wrong; says in which file, in which case and what."""


@dataclass(frozen=True, slots=True)
class Case:
    """One text with what should become of it.

    Attributes:
        id: unique in its split.
        split: what it may be used for.
        kind: the class of attack, or the kind of innocent text.
        expect: what should become of it.
        language: ISO 639-1, or `zxx` for none.
        way: in what it travels.
        body: what is sent, before minting: `{method, result}`, `{tool, arguments}`, `{tools}`,
            `{server}` or `{tools, steps}`.
        views: the disguises in which it is played.
    """

    id: str
    split: Split
    kind: str
    expect: Expect
    language: str
    way: Way
    body: Object
    views: tuple[str, ...] = ("text",)

    @property
    def innocent(self) -> bool:
        """True where nothing should be said of it."""
        return self.expect is Expect.QUIET


@dataclass(frozen=True, slots=True)
class Played:
    """A case in one view, ready to be sent.

    Attributes:
        case: what it was made from.
        view: the disguise it wears.
        body: minted and disguised.
        secrets: what was minted into it.
    """

    case: Case
    view: str
    body: Object
    secrets: tuple[str, ...]


class _Loader(yaml.SafeLoader):
    """YAML in which a date is a string, as in JSON."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as the base class has them
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same by libyaml, which takes no tab where an indentation could be."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def load(split: Split, folder: Path = FOLDER) -> list[Case]:
    """The cases of a split, in the order of their files.

    Raises:
        CaseError: a file or a case is wrong.
    """
    found: dict[str, Case] = {}
    for path in sorted((folder / split.value).glob("*.yaml")):
        for case in read(path, split):
            if case.id in found:
                raise CaseError(f"{path}: {case.id}: the id is taken")
            found[case.id] = case
    return list(found.values())


def load_apart(split: Split, folder: Path = FOLDER) -> tuple[list[Case], int]:
    """The cases of a split, those of `held` without what stands in `tuned` word for word.

    Returns:
        The cases, and how many were left out.

    Raises:
        CaseError: a file or a case is wrong.
    """
    cases = load(split, folder)
    if split is Split.TUNED:
        return cases, 0
    known = {_said(case) for case in load(Split.TUNED, folder)}
    apart = [case for case in cases if _said(case) not in known]
    return apart, len(cases) - len(apart)


def _said(case: Case) -> str:
    return json.dumps(case.body, sort_keys=True)


def read(path: Path, split: Split) -> Iterator[Case]:
    """The cases of one file.

    Raises:
        CaseError: the file or a case is wrong.
    """
    try:
        entries = _entries(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CaseError(f"{path}: {error}") from None
    if not isinstance(entries, list):
        raise CaseError(f"{path}: not a list of cases")
    for number, entry in enumerate(entries, 1):
        name = entry.get("id") if isinstance(entry, dict) else None
        try:
            case = _case(entry, split)
            check(case)
        except (CaseError, KeyError, TypeError, ValueError) as error:
            reason = (
                str(error) if isinstance(error, CaseError) else f"{type(error).__name__} {error}"
            )
            raise CaseError(f"{path}: {name or f'case {number}'}: {reason}") from None
        yield case


def _entries(text: str) -> object:
    try:
        return yaml.load(text, _FastLoader)  # both are SafeLoaders
    except yaml.YAMLError:
        return yaml.load(text, _Loader)


def _case(entry: object, split: Split) -> Case:
    if not isinstance(entry, dict):
        raise CaseError("not a mapping")
    if unknown := sorted(set(map(str, entry)) - _MEMBERS):
        raise CaseError(f"{', '.join(unknown)}: no such member")
    if missing := sorted({"id", "class", "expect"} - set(entry)):
        raise CaseError(f"{', '.join(missing)}: missing")
    way = Way.FLOW if "steps" in entry else Way(entry.get("as"))
    views = entry.get("views", ["text"])
    case = Case(
        id=entry["id"],
        split=split,
        kind=entry["class"],
        expect=Expect(entry["expect"]),
        language=entry.get("language", "en"),
        way=way,
        body=_json(_BODIES[way](entry)),
        views=tuple(views) if isinstance(views, list) else (str(views),),
    )
    for text, form in ((case.id, _ID), (case.kind, _ID), (case.language, _LANGUAGE)):
        if form.fullmatch(text) is None:
            raise CaseError(f"{text!r}: not an id, a class or a language")
    if wrong := [view for view in case.views if view not in VIEWS]:
        raise CaseError(f"{', '.join(map(str, wrong))}: no such view")
    if not case.views or len(set(case.views)) < len(case.views):
        raise CaseError("views: none, or one twice")
    return case


def _json(value: object) -> Object:
    """What YAML gave, if it is JSON."""
    if not isinstance(value, dict):
        raise CaseError("not an object")
    _check_json(value)
    return value


def _check_json(value: object) -> None:
    if isinstance(value, dict):
        if strange := [key for key in value if not isinstance(key, str)]:
            raise CaseError(f"{strange[0]!r}: a key that is no string; put it in quotes")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_json(item)
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise CaseError(f"{value!r}: not JSON")


# --- what a case says, as one tree ------------------------------------------------------


def _one_of(entry: Mapping[str, object], *names: str) -> str:
    given = [name for name in names if name in entry]
    if len(given) != 1:
        raise CaseError(f"one of {', '.join(names)} is needed")
    return given[0]


def _result(entry: Mapping[str, object]) -> object:
    given = _one_of(entry, "text", "blocks", "value")
    method, result = str(entry.get("method", "tools/call")), entry[given]
    if given == "value":
        if not isinstance(result, dict):
            raise CaseError("value: not an object")
        method = str(result.get("method", method))
        result = {name: member for name, member in result.items() if name != "method"}
    else:
        texts = [result] if given == "text" else result
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise CaseError(f"{given}: not text")
        result = {"content": [{"type": "text", "text": text} for text in texts]}
    if method not in ANSWERED:
        raise CaseError(f"{method}: results are of {', '.join(ANSWERED)}")
    return {"method": method, "result": result}


def _arguments(entry: Mapping[str, object]) -> object:
    if not isinstance(entry.get("tool"), str) or not isinstance(entry.get("value"), dict):
        raise CaseError("arguments need a tool and a value that is an object")
    return {"tool": entry["tool"], "arguments": entry["value"]}


def _definition(entry: Mapping[str, object]) -> object:
    given = _one_of(entry, "value", "tools", "server")
    if given == "server":
        return {"server": entry["server"]}
    tools = [entry["value"]] if given == "value" else entry["tools"]
    if not isinstance(tools, list) or not all(_is_tool(tool) for tool in tools):
        raise CaseError(f"{given}: a tool is an object with a name")
    return {"tools": tools}


def _flow(entry: Mapping[str, object]) -> object:
    steps, tools = entry["steps"], entry.get("tools", [])
    if not isinstance(steps, list) or not steps:
        raise CaseError("steps: none")
    for step in steps:
        if not isinstance(step, dict) or not isinstance(step.get("tool"), str):
            raise CaseError("a step is an object with a tool")
        if unknown := sorted(set(map(str, step)) - _STEP_MEMBERS):
            raise CaseError(f"{', '.join(unknown)}: no such member of a step")
        if not isinstance(step.get("result", ""), str | dict):
            raise CaseError("a step's result is text, or an object")
    if not isinstance(tools, list) or not all(_is_tool(tool) for tool in tools):
        raise CaseError("tools: a tool is an object with a name")
    return {"tools": tools, "steps": steps}


def _is_tool(tool: object) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("name"), str)


_BODIES = {
    Way.RESULT: _result,
    Way.ARGUMENTS: _arguments,
    Way.DEFINITION: _definition,
    Way.FLOW: _flow,
}

# --- minted and disguised ---------------------------------------------------------------


def check(case: Case) -> None:
    """See that a case can be played in each of its views.

    Raises:
        CaseError: a format is unknown, a mark is not closed, or nothing is there to disguise.
    """
    for view in case.views:
        played(case, view)


def played(case: Case, view: str) -> Played:
    """A case in one of its views.

    Raises:
        CaseError: as `check`.
    """
    secrets: dict[str, str] = {}
    body = deepcopy(case.body)
    for steps in targets(case):
        text = _at(body, steps)
        if view in DISGUISES:
            _put(body, steps, _dressed(text, view, case.id, secrets))
        else:
            pieces = _cut(text, case.id, secrets)
            _lay_out(body, case.way, steps, pieces, view)
    minted = _minted(body, case.id, secrets)
    return Played(case, view, minted, tuple(secrets.values()))


def targets(case: Case) -> list[Steps]:
    """Where the strings stand that hold the attack.

    Those with a mark; else those into which a secret is minted; else all blocks of a result that
    has nothing else; else the longest string.
    """
    found = list(_strings(_scope(case), _prefix(case)))
    for mark in ("{{hide:", "{{mint:"):
        marked = [steps for steps, text in found if mark in text]
        if marked:
            return marked
    told = [(steps, text) for steps, text in found if steps[-1] not in ("type", "mimeType", "name")]
    if not told:
        return []
    if all(len(steps) == 4 and steps[1] == "content" and steps[3] == "text" for steps, _ in told):
        return [steps for steps, _ in told]
    return [max(told, key=lambda pair: len(pair[1]))[0]]


def _prefix(case: Case) -> Steps:
    if case.way is Way.FLOW:
        steps = case.body["steps"]
        assert isinstance(steps, list)
        return ("steps", len(steps) - 1, "arguments")
    return {Way.RESULT: ("result",), Way.ARGUMENTS: ("arguments",)}.get(case.way, ())


def _scope(case: Case) -> Json:
    value: Json = case.body
    for step in _prefix(case):
        value = _member(value, step)
    return value


def _strings(value: Json, steps: Steps) -> Iterator[tuple[Steps, str]]:
    if isinstance(value, str):
        yield steps, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _strings(member, (*steps, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, (*steps, number))


def _member(value: Json, step: str | int) -> Json:
    if isinstance(value, dict) and isinstance(step, str):
        return value.get(step)
    assert isinstance(value, list)
    assert isinstance(step, int)
    return value[step]


def _at(body: Object, steps: Steps) -> str:
    value: Json = body
    for step in steps:
        value = _member(value, step)
    assert isinstance(value, str)
    return value


def _put(body: Object, steps: Steps, new: Json) -> None:
    parent: Json = body
    for step in steps[:-1]:
        parent = _member(parent, step)
    last = steps[-1]
    if isinstance(parent, dict):
        parent[str(last)] = new
    elif isinstance(parent, list) and isinstance(last, int):
        parent[last] = new


def _fresh(text: str, seed: str, secrets: dict[str, str]) -> str:
    """The text with its secrets; the same name in one case is the same secret."""

    def one(match: re.Match[str]) -> str:
        name, number = match.groups()
        if name not in formats():
            raise CaseError(f"{name}: no such format of secret")
        return secrets.setdefault(name + number, mint(name, seed + number))

    return _MINT.sub(one, text)


def _dressed(text: str, view: str, seed: str, secrets: dict[str, str]) -> str:
    disguise = DISGUISES[view]
    if not _HIDE.search(text):
        return disguise(_fresh(text, seed, secrets))
    return _HIDE.sub(lambda part: disguise(_fresh(part[1], seed, secrets)), text)


def _cut(text: str, seed: str, secrets: dict[str, str]) -> list[str]:
    marked = _HIDE.search(text)
    if marked is None:
        return split(_fresh(text, seed, secrets))
    first, *others = split(_fresh(marked[1], seed, secrets))
    pieces = [text[: marked.start()] + first, *others]
    pieces[-1] += text[marked.end() :]
    return pieces


def _minted(value: Json, seed: str, secrets: dict[str, str]) -> Object:
    """The rest of the body, keys as well."""

    def walk(value: Json) -> Json:
        if isinstance(value, str):
            text = _fresh(_HIDE.sub(r"\1", value), seed, secrets)
            if _LEFT_OVER.search(text):
                raise CaseError(f"{text[:60]!r}: a mark is not closed, or not one")
            return text
        if isinstance(value, dict):
            return {str(walk(name)): walk(member) for name, member in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return value

    made = walk(value)
    assert isinstance(made, dict)
    return made


# --- a text in pieces -------------------------------------------------------------------


def _lay_out(body: Object, way: Way, steps: Steps, pieces: list[str], view: str) -> None:
    """Put the pieces where the text stood, or where a client reads them together."""
    if way is Way.DEFINITION:
        _into_definition(body, steps, pieces, view)
        return
    in_block = way is Way.RESULT and len(steps) == 4 and steps[1] == "content"
    if not in_block:
        _put(body, steps, _structure(pieces, view))
        return
    result = body["result"]
    assert isinstance(result, dict)
    blocks, index = result["content"], steps[2]
    assert isinstance(blocks, list)
    assert isinstance(index, int)
    if view == "split-blocks":
        blocks[index] = {"type": "text", "text": pieces[0]}
        blocks.extend({"type": "text", "text": piece} for piece in pieces[1:])
        return
    blocks[index] = {"type": "text", "text": ""}
    structured = result.setdefault("structuredContent", {})
    assert isinstance(structured, dict)
    structured[f"parts{index or ''}"] = _structure(pieces, view)


def _structure(pieces: list[str], view: str) -> Json:
    if view == "split-fields":
        return {f"part{number}": piece for number, piece in enumerate(pieces, 1)}
    if view == "split-keys":
        return {piece: number for number, piece in enumerate(pieces, 1)}
    if view == "split-blocks":
        return [{"type": "text", "text": piece} for piece in pieces]
    return list(pieces)


def _into_definition(body: Object, steps: Steps, pieces: list[str], view: str) -> None:
    """What is shown of a tool beside its description: titles, values and names of parameters."""
    if steps[0] != "tools":
        _put(body, steps, "\n".join(pieces))  # instructions are one text
        return
    tool: Json = body
    for step in steps[:2]:
        tool = _member(tool, step)
    assert isinstance(tool, dict)
    if view in ("split-fields", "split-blocks"):
        _put(body, steps, pieces[0])
        annotations = tool.setdefault("annotations", {})
        assert isinstance(annotations, dict)
        tool["title"], annotations["title"] = pieces[1], "".join(pieces[2:])
        return
    _put(body, steps, "")
    schema = tool.setdefault("inputSchema", {"type": "object"})
    assert isinstance(schema, dict)
    properties = schema.setdefault("properties", {})
    assert isinstance(properties, dict)
    if view == "split-array":
        properties["mode"] = {"type": "string", "enum": list(pieces)}
    else:
        properties |= {piece: {"type": "string"} for piece in pieces}
