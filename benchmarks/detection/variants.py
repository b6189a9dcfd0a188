"""A case in one of its views: with fresh secrets, and with a disguise over its attack."""

import re
from copy import deepcopy
from dataclasses import dataclass

from benchmarks.detection.cases import Case, CaseError, Way
from benchmarks.detection.disguise import DISGUISES, split
from benchmarks.detection.json_tree import Json, JsonPath, Object, put, strings, text_at, value_at
from benchmarks.detection.mint import formats, mint
from benchmarks.detection.pieces import lay_out

_MINT = re.compile(r"\{\{mint:([a-z0-9-]+)((?:#\d+)?)\}\}")  # `#2`: another secret of the format
_HIDE = re.compile(r"\{\{hide:((?:\{\{mint:[a-z0-9#-]+\}\}|(?!\}\}).)*)\}\}", re.DOTALL)
_LEFT_OVER = re.compile(r"\{\{(?:mint|hide):")
_NO_TEXTS = ("type", "mimeType", "name")  # members whose strings no attack is in


@dataclass(frozen=True, slots=True)
class Variant:
    """A case in one view, ready to be sent.

    Attributes:
        case: the case.
        view: its disguise.
        body: with secrets and disguise.
        secrets: that were minted into it.
    """

    case: Case
    view: str
    body: Object
    secrets: tuple[str, ...]


def variant(case: Case, view: str) -> Variant:
    """A case in one of its views.

    Raises:
        CaseError: a format is unknown, a mark is not closed, or there is nothing to disguise.
    """
    secrets: dict[str, str] = {}
    body = deepcopy(case.body)
    for path in targets(case):
        text = text_at(body, path)
        if view in DISGUISES:
            put(body, path, _disguised(text, view, case.id, secrets))
        else:
            lay_out(body, case.way, path, _cut(text, case.id, secrets), view)
    minted = _minted(body, case.id, secrets)
    return Variant(case, view, minted, tuple(secrets.values()))


def targets(case: Case) -> list[JsonPath]:
    """The paths of the strings that contain the attack.

    These are the strings with a mark; else those with a minted secret; else all blocks of a result
    that has only text; else the longest string.
    """
    prefix = _prefix(case)
    texts = list(strings(value_at(case.body, prefix), prefix))
    for mark in ("{{hide:", "{{mint:"):
        marked = [path for path, text in texts if mark in text]
        if marked:
            return marked
    others = [(path, text) for path, text in texts if path[-1] not in _NO_TEXTS]
    if not others:
        return []
    if all(len(path) == 4 and path[1] == "content" and path[3] == "text" for path, _ in others):
        return [path for path, _ in others]
    return [max(others, key=lambda pair: len(pair[1]))[0]]


def _prefix(case: Case) -> JsonPath:
    """The path to the part of the body that may contain the attack."""
    if case.way is Way.FLOW:
        steps = case.body["steps"]
        assert isinstance(steps, list)
        return ("steps", len(steps) - 1, "arguments")
    return {Way.RESULT: ("result",), Way.ARGUMENTS: ("arguments",)}.get(case.way, ())


def _with_secrets(text: str, seed: str, secrets: dict[str, str]) -> str:
    """The text with fresh secrets; in one case, a name is always the same secret."""

    def secret(match: re.Match[str]) -> str:
        name, number = match.groups()
        if name not in formats():
            raise CaseError(f"{name}: no such format of secret")
        return secrets.setdefault(name + number, mint(name, seed + number))

    return _MINT.sub(secret, text)


def _disguised(text: str, view: str, seed: str, secrets: dict[str, str]) -> str:
    disguise = DISGUISES[view]
    if not _HIDE.search(text):
        return disguise(_with_secrets(text, seed, secrets))
    return _HIDE.sub(lambda part: disguise(_with_secrets(part[1], seed, secrets)), text)


def _cut(text: str, seed: str, secrets: dict[str, str]) -> list[str]:
    marked = _HIDE.search(text)
    if marked is None:
        return split(_with_secrets(text, seed, secrets))
    first, *others = split(_with_secrets(marked[1], seed, secrets))
    pieces = [text[: marked.start()] + first, *others]
    pieces[-1] += text[marked.end() :]
    return pieces


def _minted(value: Json, seed: str, secrets: dict[str, str]) -> Object:
    """The body with secrets in all strings, keys too, that have no disguise."""

    def walk(value: Json) -> Json:
        if isinstance(value, str):
            text = _with_secrets(_HIDE.sub(r"\1", value), seed, secrets)
            if _LEFT_OVER.search(text):
                raise CaseError(f"{text[:60]!r}: a mark is not closed, or not one")
            return text
        if isinstance(value, dict):
            return {str(walk(name)): walk(member) for name, member in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return value

    body = walk(value)
    assert isinstance(body, dict)
    return body
