"""Case files: YAML, read strictly; benchmarks/README.md describes their form."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from benchmarks.detection.cases import Case, CaseError, Expect, Split, Way
from benchmarks.detection.disguise import VIEWS
from benchmarks.detection.json_tree import Object
from benchmarks.detection.variants import variant

FOLDER = Path(__file__).with_name("cases")
METHODS = ("tools/call", "resources/read", "prompts/get")  # whose results a case may be
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
_MEMBERS = frozenset(
    {
        *("id", "class", "expect", "language", "as", "views"),
        *("text", "blocks", "value", "method", "tool", "tools", "server", "steps"),
    }
)
_STEP_MEMBERS = frozenset({"tool", "arguments", "result"})


class _Loader(yaml.SafeLoader):
    """YAML in which a date is a string, as in JSON."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as the base class has them
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A loader in C, by libyaml, which accepts no tab in a place where indentation is possible."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def load(split: Split, folder: Path = FOLDER) -> list[Case]:
    """The cases of a split, in the order of their files.

    Raises:
        CaseError: a file or a case is wrong.
    """
    cases: dict[str, Case] = {}
    for path in sorted((folder / split.value).glob("*.yaml")):
        for case in read(path, split):
            if case.id in cases:
                raise CaseError(f"{path}: {case.id}: the id is taken")
            cases[case.id] = case
    return list(cases.values())


def load_apart(split: Split, folder: Path = FOLDER) -> tuple[list[Case], int]:
    """The cases of a split, without those of `held` that are in `tuned` word for word.

    Returns:
        The cases, and the number of those left out.

    Raises:
        CaseError: a file or a case is wrong.
    """
    cases = load(split, folder)
    if split is Split.TUNED:
        return cases, 0
    tuned = {_body_text(case) for case in load(Split.TUNED, folder)}
    apart = [case for case in cases if _body_text(case) not in tuned]
    return apart, len(cases) - len(apart)


def _body_text(case: Case) -> str:
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
            _check_variants(case)
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


def _check_variants(case: Case) -> None:
    """Check that a case can be played in each of its views.

    Raises:
        CaseError: a format is unknown, a mark is not closed, or there is nothing to disguise.
    """
    for view in case.views:
        variant(case, view)


def _json(value: object) -> Object:
    """The value, if it is JSON."""
    if not isinstance(value, dict):
        raise CaseError("not an object")
    _check_json(value)
    return value


def _check_json(value: object) -> None:
    if isinstance(value, dict):
        if others := [key for key in value if not isinstance(key, str)]:
            raise CaseError(f"{others[0]!r}: a key that is no string; put it in quotes")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_json(item)
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise CaseError(f"{value!r}: not JSON")


# --- bodies ------------------------------------------------------------------------------


def _single(entry: Mapping[str, object], *names: str) -> str:
    given = [name for name in names if name in entry]
    if len(given) != 1:
        raise CaseError(f"one of {', '.join(names)} is needed")
    return given[0]


def _result(entry: Mapping[str, object]) -> object:
    given = _single(entry, "text", "blocks", "value")
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
    if method not in METHODS:
        raise CaseError(f"{method}: results are of {', '.join(METHODS)}")
    return {"method": method, "result": result}


def _arguments(entry: Mapping[str, object]) -> object:
    if not isinstance(entry.get("tool"), str) or not isinstance(entry.get("value"), dict):
        raise CaseError("arguments need a tool and a value that is an object")
    return {"tool": entry["tool"], "arguments": entry["value"]}


def _definition(entry: Mapping[str, object]) -> object:
    given = _single(entry, "value", "tools", "server")
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
