"""The evidence on a card: changes word by word, the content of a call, and hidden characters.

Everything is bounded, and says what it leaves out: a server chooses the length of its texts.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from pipeguard.firewall.pins.definition_diff import INPUTS, Side, read
from pipeguard.firewall.protocol.json_values import (
    ABSENT,
    JsonObject,
    Number,
    serialise,
    walk_texts,
)
from pipeguard.ui.text import foreign_text
from pipeguard.unicode.display import visible
from pipeguard.unicode.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

DIFF_WORDS = 800  # that are compared, of both texts: difflib takes their square
SAME_CHARS = 300  # of words that did not change, in a row
CHANGED_CHARS = 3000  # of words that did, in a row
VALUE_CHARS = 600  # of one value of a tree or of an argument
MOST_NODES = 150  # of a tree
NODE_CHARS = 200  # of HTML: a longer line counts as several
MOST_ARGUMENTS = 40
MOST_KINDS = 8  # of characters that are explained
LEAST_MARKED_CHARS = 4  # of a value that is marked in a text
_WORD = re.compile(r"\s+|\w+|[^\w\s]")
_LAST = re.compile(r" \((last allowed: .*|new)\)$")


# --- words ------------------------------------------------------------------------------------


def compare_words(old: str, new: str) -> Markup:
    """Merge two texts into one, with deletions and insertions marked."""
    parts = [
        _mark(kind, "".join(before), "".join(after))
        for kind, before, after in _merge(_compare(_WORD.findall(old), _WORD.findall(new)))
    ]
    return Markup("").join(parts)


_Words = list[str]
_Edit = tuple[bool, _Words, _Words]  # whether it is a change; the old words, and the new ones


def _compare(old: _Words, new: _Words) -> Iterator[_Edit]:
    shorter = min(len(old), len(new))
    head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    rest = shorter - head
    tail = next((i for i in range(rest) if old[-1 - i] != new[-1 - i]), rest)
    before, after = old[head : len(old) - tail], new[head : len(new) - tail]
    yield False, old[:head], old[:head]
    if len(before) + len(after) > DIFF_WORDS:
        yield True, before, after
    else:
        matcher = SequenceMatcher(None, before, after, autojunk=False)
        for kind, i, i_end, j, j_end in matcher.get_opcodes():
            yield kind != "equal", before[i:i_end], after[j:j_end]
    yield False, old[len(old) - tail :], new[len(new) - tail :]


def _merge(edits: Iterable[_Edit]) -> list[_Edit]:
    """Join changes that only white space or a sign separates."""
    merged: list[_Edit] = []
    for is_change, before, after in edits:
        if not before and not after:
            continue
        if merged and is_change and len(merged) > 1 and merged[-2][0]:
            between = "".join(merged[-1][1])
            if not merged[-1][0] and len(between.strip()) <= 1:
                (_, old, new), (_, same, _) = merged[-2:]
                merged[-2:] = [(True, [*old, *same, *before], [*new, *same, *after])]
                continue
        merged.append((is_change, before, after))
    return merged


def _mark(is_change: bool, old: str, new: str) -> Markup:  # noqa: FBT001  a member of an edit
    if not is_change:
        if len(old) <= SAME_CHARS:
            return foreign_text(old)
        half, left_out = SAME_CHARS // 2, len(old) - SAME_CHARS
        note = Markup('<span class="soft"> … {:,} characters are the same … </span>')
        return foreign_text(old[:half]) + note.format(left_out) + foreign_text(old[-half:])
    gone = Markup("<del>{}</del>").format(_cut_change(old)) if old else Markup("")
    return gone + (Markup("<ins>{}</ins>").format(_cut_change(new)) if new else Markup(""))


def _cut_change(text: str) -> Markup:
    shown = foreign_text(text[:CHANGED_CHARS])
    if len(text) > CHANGED_CHARS:
        more = Markup('<b class="cp">… and {:,} more characters, which pipeguard diff shows</b>')
        shown += more.format(len(text) - CHANGED_CHARS)
    return shown


# --- characters ---------------------------------------------------------------------------------


def explain_characters(texts: Iterable[str]) -> list[tuple[str, int, str]]:
    """List the hidden and look-alike characters: code point, count and explanation."""
    codes = Counter(
        code for text in texts for code in re.findall(r"⟨U\+([0-9A-F]{4,6})", visible(text))
    )
    return [
        (f"U+{code}", count, _explain(chr(int(code, 16))))
        for code, count in codes.most_common(MOST_KINDS)
        if code not in {"000A", "000D", "0009"}
    ]


def _explain(character: str) -> str:
    plain = fold(character.encode("utf-8", "replace"))[0].decode("utf-8", "replace")
    if character.isalpha() and plain != character and plain.isascii() and plain:
        script = unicodedata.name(character, "foreign").split()[0].title()
        return f"a {script} letter that looks like the Latin {plain}."
    if "\U000e0000" <= character <= "\U000e007f":
        return "an invisible letter: a model reads it, and you do not see it."
    if character in ":#":
        return "written so that no program takes the line for a command."
    turns = _BY_KIND.get(unicodedata.bidirectional(character))
    return turns or _BY_KIND.get(unicodedata.category(character), _DRAWS_NOTHING)


_DRAWS_NOTHING = "invisible. It can keep a filter from finding the word that it is in."
# By category and by direction (UAX 44 and 9).
_BY_KIND = {
    "Zs": "an unusual space.",
    "Co": "a private-use character: no standard defines it.",
    "Cc": "a control character, which is invisible.",
    **dict.fromkeys(
        ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        "reverses the words after it on the screen: a model reads them in another order.",
    ),
}


# --- definitions ----------------------------------------------------------------------------------


class TreeNode(NamedTuple):
    """One line of the changes of a value.

    Attributes:
        sign: `+`, `−`, `~`, or empty for an unchanged line.
        children: the lines below it.
    """

    sign: str
    text: Markup
    children: tuple[TreeNode, ...] = ()


def compare_definitions(old: str, new: str) -> dict[str, object]:
    """List the differences of two versions of a definition, each as JSON.

    They are in its description, its parameters and its other members; and the hidden characters of
    the new version.
    """
    before, after = read(old), read(new)
    words = None
    texts = [(before.get(key, ""), after.get(key, "")) for key in _DESCRIPTIONS]
    was, now = next((pair for pair in texts if pair[0] != pair[1]), ("", ""))
    described: tuple[str, ...] = ()
    if _is_text(was) and _is_text(now) and was != now:
        words, described = compare_words(str(was), str(now)), _DESCRIPTIONS
    drawing = _Drawing()
    tree = [
        node
        for key in INPUTS
        for node in drawing.members(_as_object(before.get(key)), _as_object(after.get(key)))
    ]
    rest = [
        {key: value for key, value in side.items() if key not in {*INPUTS, *described}}
        for side in (before, after)
    ]
    others = drawing.members(rest[0], rest[1], is_whole=False)
    characters = explain_characters(walk_texts(after))
    return {"words": words, "tree": tree, "others": others, "characters": characters}


_DESCRIPTIONS = ("description", "instructions")


def _as_object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {} if value is None else {"schema": value}  # type: ignore[dict-item]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


class _Drawing:
    """Draws the differences of two values as a tree, of at most `MOST_NODES` lines."""

    def __init__(self) -> None:
        self._left = MOST_NODES

    def members(self, old: JsonObject, new: JsonObject, *, is_whole: bool = True) -> list[TreeNode]:
        """Draw the members that differ in two objects; in a schema, also its other parameters.

        Args:
            old: the old object.
            new: the new object.
            is_whole: whether to name unchanged parameters, too.
        """
        nodes: list[TreeNode] = []
        for key in (*old, *(key for key in new if key not in old)):
            before, after = old.get(key, ABSENT), new.get(key, ABSENT)
            is_same = before == after and before is not ABSENT
            if is_same and not (is_whole and key == "properties"):
                continue
            if self._left <= 0:
                left = TreeNode("~", Markup("There is more: pipeguard diff shows all of it."))
                return [*nodes, left]
            if key == "properties" and is_whole:
                nodes += self._parameters(before, after, old, new)
            elif key != "required" or not is_whole or "properties" not in {*old, *new}:
                nodes.append(self._node(key, before, after))
        return nodes

    def _parameters(
        self, before: Side, after: Side, old: JsonObject, new: JsonObject
    ) -> Iterator[TreeNode]:
        was = before if isinstance(before, dict) else {}
        now = after if isinstance(after, dict) else {}
        for name in (*was, *(name for name in now if name not in was)):
            sides = was.get(name, ABSENT), now.get(name, ABSENT)
            needs = name in _list(old.get("required")), name in _list(new.get("required"))
            old_line, new_line = (
                "" if side is ABSENT else _describe(name, side, is_required=is_required)
                for side, is_required in zip(sides, needs, strict=True)
            )
            if sides[0] == sides[1] and needs[0] == needs[1]:
                yield TreeNode("", foreign_text(new_line))
            else:
                yield self._node(name, *sides, labels=(old_line, new_line))

    def _node(
        self, key: str, old: Side, new: Side, labels: tuple[str, str] | None = None
    ) -> TreeNode:
        sign = "+" if old is ABSENT else "−" if new is ABSENT else "~"
        are_objects = all(isinstance(side, dict) or side is ABSENT for side in (old, new))
        if are_objects:
            title = compare_words(*labels) if labels else foreign_text(key, (), VALUE_CHARS)
            before, after = (dict(side) if isinstance(side, dict) else {} for side in (old, new))
            if labels:  # which have the type
                before.pop("type", None)
                after.pop("type", None)
            self._left -= 1 + len(title) // NODE_CHARS
            return TreeNode(sign, title, tuple(self.members(before, after)))
        write = str if _is_text(old) and _is_text(new) else _write
        words = compare_words(write(old), write(new))
        line = foreign_text(key, (), VALUE_CHARS) + Markup(": ") + words
        self._left -= 1 + len(line) // NODE_CHARS
        return TreeNode(sign, line)


def _describe(name: str, schema: Side, *, is_required: bool) -> str:
    kind = schema.get("type") if isinstance(schema, dict) else None
    words = [kind if isinstance(kind, str) else _write(kind) if kind else "any"]
    return f"{name}: {', '.join([*words, *(['required'] if is_required else [])])}"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _write(value: Side) -> str:
    return "" if value is ABSENT else serialise(value).decode("utf-8", "replace")


# --- calls ----------------------------------------------------------------------------------------


def read_call(findings: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Collect the evidence about a stopped call from its findings, for its card.

    It has the arguments, as they would be sent and as they usually are (if unknown or unreadable,
    as the audit has them); other differences from earlier calls; and each excerpt, with the
    repeated passages marked.
    """
    quoted = list(dict.fromkeys(each["excerpt"] for each in findings if each.get("excerpt")))
    excerpts = list[str]()
    for each in sorted(quoted, key=len, reverse=True):  # rules cut the same passage in other places
        if not any(each.strip(" .,;:…\n") in other for other in excerpts):
            excerpts.append(each)
    excerpts.sort(key=quoted.index)
    texts = dict.fromkeys(each["differs"] for each in findings if each.get("differs"))
    differs = [line for text in texts for line in text.splitlines()]
    raw = next((each["arguments"] for each in findings if each.get("arguments")), "")
    try:
        arguments = json.loads(raw)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        passages = {each: foreign_text(each) for each in excerpts}
        return {"rows": [], "raw": raw, "differs": differs, "passages": passages}
    values = {name: _as_text(value) for name, value in arguments.items()}
    marks = list(dict.fromkeys(_find_repeated(arguments, "\n".join(excerpts))))
    rows = []
    for name, value in list(values.items())[:MOST_ARGUMENTS]:
        line = next((each for each in differs if each.startswith(f"{name}: ")), "")
        differs = [each for each in differs if not line or each != line]
        found = _LAST.search(line)
        usual = found[1] if found else line.partition(": ")[2]
        usual = "a value that no earlier call had" if usual == "new" else usual
        rows.append({"name": name, "value": _mark_passages(value, marks), "usual": usual})
    if len(values) > MOST_ARGUMENTS:
        differs.append(f"{len(values) - MOST_ARGUMENTS} more arguments")
    passages = {each: _mark_passages(each, marks) for each in excerpts}
    return {"rows": rows, "raw": "", "differs": differs, "passages": passages}


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _find_repeated(value: object, text: str) -> Iterator[str]:
    """Yield the values of a call that a text contains."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _find_repeated(each, text)
    elif isinstance(value, str) and len(value) >= LEAST_MARKED_CHARS and value in text:
        yield value


def _mark_passages(text: str, marks: Sequence[str]) -> Markup:
    """Number the passages of a text, with the same numbers everywhere."""
    return foreign_text(text, [each if each in text else "" for each in marks])
