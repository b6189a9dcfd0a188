"""The evidence on a card: changes word by word, the content of a call, and hidden characters.

Everything is bounded, and says what it leaves out: a server chooses the length of its texts.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pipeguard.firewall.finding import tells_private
from pipeguard.firewall.pins.definition_diff import INPUTS, Side, differences, read
from pipeguard.firewall.protocol.json_values import ABSENT, serialise, walk_texts
from pipeguard.state.exceptions import find_arguments
from pipeguard.ui.text import TEXT_CHARS, foreign_text
from pipeguard.unicode.display import visible
from pipeguard.unicode.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    _Findings = Sequence[Mapping[str, str]]

DIFF_WORDS = 800  # that are compared, of both texts: difflib takes their square
SAME_CHARS = 300  # of words that did not change, in a row
CHANGED_CHARS = 3000  # of words that did, in a row
VALUE_CHARS = 600  # of an argument, or of a name
MOST_LINES = 150  # of differences
LINE_CHARS = 200  # of HTML: a longer line counts as several
MOST_ARGUMENTS = 40
BEFORE_CHARS = 100  # of a cut value, before its first mark
MOST_KINDS = 8  # of characters that are explained
LEAST_MARKED_CHARS = 4  # of a value that is marked in a text
LEAST_COMMON_CHARS = 12  # of words in a row that are marked in both
MOST_COMPARED = 3  # values that are searched for them, the longest
MOST_SPELLED_CHARS = 100  # of a value that may have other separators there
_WORD = re.compile(r"\s+|\w+|[^\w\s]")
_SEPARATOR = re.compile(r"[ .,/-]")
_AMOUNT = re.compile(r"[\d.,]{1,9}(?: \w{1,4})?")  # with its currency
_MASKED = re.compile(r"\w{0,4}…+")
_LAST = re.compile(r" \((last allowed: (.*), (\d+ calls?)|new)\)$")
# Lines of detect.shown_call that are no differences, but sentences of ours.
_COMPARED = re.compile("first call of this tool|nothing: calls of this tool|cannot be told: ")


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


def compare_definitions(old: str, new: str) -> dict[str, object]:
    """List the differences of two versions of a definition, each as JSON.

    They are in its description; in the `parts` of its parameters and its other members, a line each
    with its sign; and the hidden characters of the new version. There are `more` if not all are
    listed.
    """
    before, after = read(old), read(new)
    words, is_more, left = None, False, MOST_LINES
    lines = dict[str, list[tuple[str, Markup]]]()
    for each in differences(before, after):
        sides = [_write(side) for side in (each.old, each.new)]
        if words is None and each.path in _DESCRIPTIONS and all(sides):
            words = compare_words(*sides)
            continue
        if is_more := left <= 0:
            break
        is_parameter = each.path[0] in INPUTS
        path = each.path[2:] if is_parameter and len(each.path) > 2 else each.path
        name = foreign_text(".".join(path), (), VALUE_CHARS)
        line = name + Markup(": ") + compare_words(*sides)
        sign = "+" if each.old is ABSENT else "−" if each.new is ABSENT else "~"
        title = "What changed in its parameters" if is_parameter else "What else changed"
        lines.setdefault(title, []).append((sign, line))
        left -= 1 + len(line) // LINE_CHARS
    characters = explain_characters(walk_texts(after))
    parts = sorted(lines.items())  # its parameters first
    return {"words": words, "more": is_more, "parts": parts, "characters": characters}


_DESCRIPTIONS = {("description",), ("instructions",)}


def _write(value: Side) -> str:
    if value is ABSENT:
        return ""
    return value if type(value) is str else serialise(value).decode("utf-8", "replace")


# --- stopped messages ---------------------------------------------------------------------------


class Evidence:
    """The evidence about a stopped message, for its card and its event.

    Words that a rule found, and values that a call repeats, have the same number everywhere.

    Args:
        findings: that stopped it.
        others: its other findings, of which one may have the arguments.
        is_whole: whether to show long values in full.

    Attributes:
        arguments: of the call, in the audit's order. Of each, its `length` as it was sent; how many
            characters are `shown`, the others being cut or masked; how many the audit has and this
            does not show (`cut`); the `usual` value in the last call that passed, if it differs,
            and how many `calls` had that (`new` if none had the argument); and whether the decision
            is about it (`is_telling`): it says where or how much, comes first, or `has_mark`.
            `is_masked` says whether a secret in it is hidden.
        more: how many others are not shown.
        raw: the arguments, if they cannot be read; or empty.
        unseen: how many characters of the arguments are not shown.
        telling: the name and the value of the argument that the decision is about.
        passages: the excerpts that are in no other text, each with its finding.
        frame: the text around a finding in a result; or empty.
        flow: the finding about the way of a text, or None.
        is_repeated: whether the call repeats a value of the text that led to it.
        numbers: the mark of each rule, from 1; or 0.
        marked: the excerpts whose words are marked in another text.
        differs: differences from earlier calls that are not next to an argument.
        compared: a sentence of ours that says why there are none; or empty.
    """

    def __init__(
        self, findings: _Findings, others: _Findings = (), *, is_whole: bool = False
    ) -> None:
        first = find_arguments((*findings, *others))
        given = _parse(first.get("arguments"))
        self.raw = "" if given else first.get("arguments", "")
        self._values = {name: _as_text(value) for name, value in given.items()}
        frame = next((each["frame"] for each in findings if each.get("frame")), "")
        kept = _list_excerpts(findings)
        flows = [each for each in findings if each["rule"].startswith("flows.")]
        read = "\n".join(each.get("excerpt", "") for each in flows)
        repeated = [*_find_repeated(given, read)] or [*_find_common(self._values.values(), read)]
        self._marks, self.marked = list(dict.fromkeys(repeated)), set[str]()
        self.is_repeated, self.flow = bool(self._marks), next(iter(flows), None)
        self.numbers = {each["rule"]: int(self.is_repeated) for each in flows}
        orders = [each for each in findings if not tells_private(each["rule"])]
        texts = (*self._values.values(), frame, *_list_excerpts(orders))
        for each in findings:
            words = "" if each in flows else _find_words(each, given, texts)
            if words:
                self.marked.add(each.get("excerpt", ""))
            if words and (words, words) not in self._marks:
                self._marks.append((words, words))
            number = self._marks.index((words, words)) + 1 if words else 0
            self.numbers.setdefault(each["rule"], number)
        self.frame = self.draw(frame)
        quoted = {each.get("excerpt", ""): each for each in reversed(findings)}
        left = [text for text in kept if text not in self.marked]
        self.passages = [(quoted[text], self.draw(text)) for text in left]
        self.compared, self.differs = _read_differences([*findings, first])
        self.arguments = list(self._list_arguments(first, is_whole=is_whole))
        self.more = len(given) - len(self.arguments)
        shown = sum(len(self._values[each["name"]]) - each["cut"] for each in self.arguments)
        self.unseen = sum(map(len, self._values.values())) - shown + _count(first.get("unseen"))
        self.telling = next(iter(self._values.items()), ("", ""))

    def _find(self, text: str) -> list[str]:
        """The marked passages of a text; empty strings for the marks that it has not."""
        found = [next((each for each in mark if each in text), "") for mark in self._marks]
        return found if any(found) else []

    def draw(self, text: str) -> Markup:
        """Draw a text from outside with all marks, uncut: a hidden character takes up to ten."""
        return foreign_text(text, self._find(text), 10 * len(text) + 1)

    def _list_arguments(
        self, first: Mapping[str, str], *, is_whole: bool
    ) -> Iterator[dict[str, Any]]:
        lengths, targets = _parse(first.get("lengths")), _count(first.get("targets", "1"))
        for at, (name, value) in enumerate(self._values.items()):
            if at >= MOST_ARGUMENTS and not is_whole:
                return
            limit = len(value) if is_whole or at < targets else VALUE_CHARS  # targets are never cut
            passages = list(filter(None, self._find(value)))
            first_mark = min((value.find(each) for each in passages), default=0)
            begin = max(0, min(first_mark - BEFORE_CHARS, len(value) - limit))
            part = value[begin : begin + limit]
            line = next((each for each in self.differs if each.startswith(f"{name}: ")), "")
            self.differs = [each for each in self.differs if not line or each != line]
            last = _LAST.search(line)
            yield {
                "name": name,
                "value": (Markup("… ") if begin else Markup("")) + self.draw(part),
                "length": max(len(value), _count(lengths.get(name))),
                "shown": len(part) - (part.count("…") if name in lengths else 0),
                "cut": len(value) - len(part),
                "is_masked": name in lengths and "……" in value,
                "usual": (last and last[2]) or ("" if last else line.partition(": ")[2]),
                "calls": last and (last[3] or last[1]),
                "is_telling": at < max(1, targets) or bool(passages),
                "has_mark": bool(passages),
            }


def find_target(findings: _Findings) -> str:
    """The first argument of a call, if it says to whom or where; or empty."""
    first = find_arguments(findings)
    target = _as_text(next(iter(_parse(first.get("arguments")).values()), ""))
    return "" if not _count(first.get("targets")) or _AMOUNT.fullmatch(target) else target


def _list_excerpts(findings: Iterable[Mapping[str, str]]) -> list[str]:
    """List the excerpts, without those that another one has: rules cut a passage differently."""
    quoted = list(dict.fromkeys(each["excerpt"] for each in findings if each.get("excerpt")))
    longest = sorted(quoted, key=len, reverse=True)
    words = [each.strip(" .,;:…\n") for each in longest]
    kept = [text for at, text in enumerate(longest) if words[at] not in "\n".join(longest[:at])]
    return sorted(kept, key=quoted.index)


def _read_differences(findings: Iterable[Mapping[str, str]]) -> tuple[str, list[str]]:
    """Return a sentence of ours that says why there are no differences, or the differences."""
    lines = next((each["differs"] for each in findings if each.get("differs")), "").splitlines()
    ours = [each for each in lines if _COMPARED.match(each) and not _LAST.search(each)]
    if any(each.startswith("first call") for each in ours):
        return "No earlier call to compare with", []
    return "".join(ours[:1]), [each for each in lines if each not in ours]


def _parse(text: str | None) -> dict[str, object]:
    """Parse a JSON object; empty for anything else."""
    try:
        value = json.loads(text or "", parse_int=str)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _count(text: object) -> int:
    """Parse a number of the audit; 0 for anything else."""
    return int(str(text)) if re.fullmatch("[0-9]{1,12}", str(text)) else 0


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _find_repeated(value: object, text: str) -> Iterator[tuple[str, str]]:
    """Yield the values of a call that a text contains, each as in the call and as in the text."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _find_repeated(each, text)
    elif not isinstance(value, bool) and (found := _find_spelling(_as_text(value), text)):
        yield _as_text(value), found


def _find_spelling(value: str, text: str) -> str:
    """Find a value in a text, also with other separators, as in `LT12 1000 0111`."""
    if value in text:
        return value if len(value) >= LEAST_MARKED_CHARS else ""
    letters = _SEPARATOR.sub("", value)
    is_bounded = LEAST_MARKED_CHARS <= len(letters) <= MOST_SPELLED_CHARS
    if not is_bounded or letters.lower() not in _SEPARATOR.sub("", text).lower():
        return ""
    pattern = rf"(?<!\w){'[ .,/-]{0,2}'.join(map(re.escape, letters))}(?!\w)"
    found = re.search(pattern, text, re.IGNORECASE)
    return found[0] if found else ""


def _find_common(values: Iterable[str], text: str) -> Iterator[tuple[str, str]]:
    """Yield the words in a row that a value, as that of a letter, shares with a text."""
    read = _WORD.findall(text)[:DIFF_WORDS]
    for value in sorted(values, key=len)[-MOST_COMPARED:] if read else ():
        words = _WORD.findall(value[:TEXT_CHARS])[:DIFF_WORDS]
        match = SequenceMatcher(None, words, read, autojunk=False).find_longest_match()
        common = "".join(words[match.a : match.a + match.size]).strip()
        if len(common) >= LEAST_COMMON_CHARS:
            yield common, common


def _find_words(finding: Mapping[str, str], given: dict[str, object], texts: Iterable[str]) -> str:
    """Find the words of a finding in a text that is shown; empty if they are in none."""
    excerpt = finding.get("excerpt", "")
    for words in (excerpt, excerpt.partition(" (")[0]):  # `AKIA… (20 characters)`
        if len(words) > 1 and any(words in text for text in texts if text != excerpt):
            return words
    value: object = given
    for key in finding.get("pointer", "").removeprefix("/params/arguments/").split("/"):
        name = key.replace("~1", "/").replace("~0", "~")
        value = value.get(name) if isinstance(value, dict) else None  # lists are in another order
    if not isinstance(value, str):
        return ""
    masked = _MASKED.search(value)
    return masked[0] if masked else value if len(value) <= VALUE_CHARS else ""
