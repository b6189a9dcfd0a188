"""What readings of JSON are read as: its strings, and all of it where names or lists ask for it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.model.opener import Stretch
from pipeguard.detect.scanning.extents import JsonValues
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan_budget import ScanInput
from pipeguard.detect.text.document import MessageText
from pipeguard.unicode.folding import Range, fold_and_back
from tests.fuzz.budget import tried

SAID = "The boats are moored at the northern pier today, and will be tomorrow."


def reading_of(text: MessageText, *, is_folded: bool = False) -> tuple[bytes, Origin]:
    source = ScanInput(text, lambda _: "result.text", keyed=False, uses=Uses(text, None))
    if not is_folded:
        return text.data, Origin(source, "text")
    folded, _, unfolding = fold_and_back(text.data)
    return folded, Origin(source, "folded", whole=True, unfolding=unfolding)


def selected(string: str, *, is_folded: bool = False) -> tuple[list[str], list[str]]:
    """The stretches of a text that is opened whole, and the names of a further one."""
    text = MessageText(string, keyed=False)
    data, origin = reading_of(text, is_folded=is_folded)
    chosen = JsonValues(text).select(data, [Stretch(0, len(data), 1.0)], origin)
    parts = [data[start:end].decode() for start, end, _ in chosen.stretches]
    return parts, [names for _, names in chosen.named]


def test_a_value_is_read_alone_and_with_its_names_if_these_ask_for_it() -> None:
    text = json.dumps({"id": 3, "note_to_llm": SAID, "next": [SAID + SAID]})
    parts, names = selected(text)
    assert parts == [SAID, SAID + SAID]
    assert ["note_to_llm" in each and "boats" not in each for each in names] == [True]


@pytest.mark.parametrize(
    "value", [{"lines": [SAID, SAID + SAID]}, {"a": SAID[:20], "b": SAID[:30]}]
)
def test_what_may_continue_each_other_is_read_together_as_well(value: object) -> None:
    text = json.dumps(value)
    parts, names = selected(text)
    assert len(parts) == 3
    assert parts[-1] == text
    assert names == []


@pytest.mark.parametrize("blanks", ["", " ", "\t\n "])
@pytest.mark.parametrize("inner", [[3, SAID], {"a": SAID}])
def test_json_in_a_string_has_strings_of_its_own(blanks: str, inner: object) -> None:
    values = JsonValues(MessageText(json.dumps({"body": blanks + json.dumps(inner)}), keyed=False))
    parts = values.within(0, len(values.data))
    assert [values.data[slice(*part)].decode().strip() for part in parts] == [SAID]


@pytest.mark.parametrize("text", [SAID, f'She said "{SAID}"', f'["{SAID}'])
def test_what_is_no_json_is_read_as_it_is(text: str) -> None:
    assert selected(text) == ([text], [])


def test_in_a_folded_reading_the_same_values_are_read() -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in SAID)
    text = json.dumps(
        [{"id": n, "a": "é\u200b" * n, "b": wide} for n in range(400)], ensure_ascii=False
    )
    parts, _ = selected(text, is_folded=True)
    assert parts.count(SAID) == 400


@tried(100)
@given(
    st.text('ab. "/é\n\t', min_size=40, max_size=80),
    st.integers(1, 2),
    st.sampled_from([None, 2]),
)
def test_a_string_of_json_is_read_in_the_lines_that_it_means(
    text: str, times: int, indent: int | None
) -> None:
    string = text
    for _ in range(times):
        string = json.dumps({"id": 3, "body": string}, indent=indent, ensure_ascii=False)
    read = MessageText(string, keyed=False)
    values = JsonValues(read)
    opened = [Stretch(0, len(read.data), 1.0)]
    chosen = values.select(values.data, opened, reading_of(read)[1])
    start, end, _ = chosen.stretches[0]
    lines = values.data[start:end].decode().split("\n")
    assert [*map(_without_spaces, lines)] == [*map(_without_spaces, text.split("\n"))]


def _without_spaces(line: str) -> str:
    return "".join(line.split())


def spans_around(text: MessageText, part: str, *, is_folded: bool) -> tuple[bytes, Range | None]:
    data, origin = reading_of(text, is_folded=is_folded)
    start = data.index(part.encode())
    return data, JsonValues(text).around(start, start + len(part), origin)


@pytest.mark.parametrize("is_folded", [False, True])
def test_a_match_is_in_its_string_unless_that_is_a_label(is_folded: bool) -> None:
    string = json.dumps({"a": "é\u200b" * 99, "b": SAID}, ensure_ascii=False)
    text = MessageText(string, keyed=False)
    data, span = spans_around(text, "northern pier", is_folded=is_folded)
    assert span is not None
    assert data[slice(*span)].decode() == SAID
    assert spans_around(text, SAID[:-9], is_folded=is_folded)[1] is None
    assert spans_around(MessageText(SAID, keyed=False), "pier", is_folded=is_folded)[1] is None
