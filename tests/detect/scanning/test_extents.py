"""The extent of an order: whole sentences and lines, and in JSON only the values."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.model.opener import Stretch
from pipeguard.detect.scanning.extents import PARAGRAPH_CHARS, Extents, JsonValues, settled_cuts
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan_budget import Match, ScanInput, StringSpan
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol.json_values import JsonValue, Number
from pipeguard.unicode.folding import Range, fold_and_back
from tests.detect.cases import read_cases
from tests.detect.model.samples import RULE_OF
from tests.each import each
from tests.fuzz.budget import tried

CASES = read_cases(__file__)

RULE = RULE_OF["injection"]


def origin_of(text: MessageText, chain: str = "text") -> Origin:
    return Origin(
        ScanInput(text, lambda _: "result.text", keyed=False, uses=Uses(text, None)), chain
    )


def gone(value: JsonValue, words: str, *, is_order: bool = True) -> list[str]:
    """Return the text removed with the first occurrence of some words, as the strings have it."""
    text = MessageText(value, keyed=False)
    start = text.data.index(words.encode())
    reach = start, start + len(words.encode())
    found = Extents(text).of(origin_of(text), reach, is_order=is_order)
    strings = {path: string for path, string, *_ in text.find_strings(0, len(text.data))}
    return [strings[span.path][span.start : span.end] for span in found]


@each("text, words, expected", CASES["lines_of_a_paragraph_go_together"])
def test_lines_of_a_paragraph_go_together(text: str, words: str, expected: str | None) -> None:
    assert gone([text], words) == [expected or text.removesuffix("\n\nEnd.")]


def test_of_a_long_paragraph_the_sentences_near_it_go() -> None:
    before = "The boats are moored at the northern pier today. " * 40
    (cut,) = gone([f"{before}Do it now. {before}"], "Do it now.")
    assert "Do it now." in cut
    assert len(cut) <= len("Do it now.") + 2 * PARAGRAPH_CHARS
    assert cut.startswith("The boats")
    assert cut.endswith("today.")


def test_of_a_long_sentence_whole_words_go() -> None:
    (cut,) = gone(["word " * 300 + "do it " + "word " * 300], "do it")
    assert set(cut.split()) == {"word", "do", "it"}
    assert len(gone(["x" * 2000 + "!do it!" + "x" * 2000], "do it")[0]) == len("do it")


def test_what_was_not_read_goes_alone() -> None:
    assert gone(["One. Two is here. Three."], "Two is here.", is_order=False) == ["Two is here."]


def test_a_passage_may_go_over_several_strings_and_is_looked_for_in_no_key() -> None:
    assert gone({"a": "Now do", "b": "it all", "key": None}, "do\nit all\na") == [
        "Now do",
        "it all",
    ]
    assert gone({"the key": {}}, "the key") == []
    assert gone([Number("1234567890123")], "12345") == []


@pytest.mark.parametrize("indent", [None, 1])
def test_of_json_the_values_go_and_it_is_json_still(indent: int | None) -> None:
    order = 'Do it now, and "say" nothing.\nThen be quiet.'
    record = {"id": "p3", "note to all": f"Hello.\n\n{order}", "by": ["Ann", "Bob"], "n": 3}
    written = json.dumps(record, indent=indent)
    (cut,) = gone([written], "Do it now, and")
    assert cut == json.dumps(order)[1:-1]
    assert json.loads(written.replace(cut, "gone")) == {**record, "note to all": "Hello.\n\ngone"}


def test_of_json_short_values_beside_a_long_one_stay() -> None:
    written = json.dumps({"id": "p3", "say": "do it now, all of you who read this page"})
    assert gone([written], 'p3", "say": "do it now, all of you who read this page') == [
        "do it now, all of you who read this page"
    ]
    assert gone(['["do", "it"]'], 'do", "it') == ["do", "it"]


@tried(150)
@given(st.text(st.sampled_from('ab \\"\n😀é/'), min_size=1, max_size=30), st.data())
def test_no_escape_of_json_is_torn(string: str, data: st.DataObject) -> None:
    ensure = data.draw(st.booleans())
    written = json.dumps({"k": string}, ensure_ascii=ensure)
    start = data.draw(st.integers(0, len(written) - 1))
    reach = start, data.draw(st.integers(start + 1, len(written)))
    low, high = (len(written[:at].encode()) for at in reach)
    text = MessageText([written], keyed=False)
    for span in Extents(text).of(origin_of(text), (low, high), is_order=False):
        left = json.loads(f"{written[: span.start]}{written[span.end :]}")["k"]
        gone_words = json.loads(f'"{written[span.start : span.end]}"')
        assert (left + gone_words).encode() is not None  # no half of a character on either side
        assert sorted(left + gone_words) == sorted(string)


@tried(150)
@given(st.text(min_size=1, max_size=40), st.data())
def test_any_range_of_bytes_is_whole_characters_of_its_strings(
    string: str, data: st.DataObject
) -> None:
    text = MessageText([string, string], keyed=False)
    start = data.draw(st.integers(0, len(text.data) - 1))
    end = data.draw(st.integers(start + 1, len(text.data)))
    for span in Extents(text).of(origin_of(text), (start, end), is_order=True):
        assert 0 <= span.start < span.end <= len(string)


def test_what_is_decoded_or_goes_to_a_server_has_no_extent() -> None:
    text = MessageText({"a": "Do it now."}, keyed=False)
    inner = Origin(origin_of(text).source, "text", outer=origin_of(text))
    assert Extents(text).of(inner, (0, 5), is_order=True) == ()
    assert Extents(text).of(origin_of(text, "joined"), (0, 5), is_order=True) == ()
    keyed = MessageText({"a": "Do it now."}, keyed=True)
    assert Extents(keyed).of(origin_of(keyed), (0, 5), is_order=True) == ()


def test_a_folded_range_is_that_of_the_words_as_they_are() -> None:
    text = MessageText(["Été. Vas-y, là où tu sais."], keyed=False)
    folded, _, unfolding = fold_and_back(text.data)
    origin = origin_of(text, "folded")._replace(whole=True, unfolding=unfolding)
    start = folded.index(b"la ou")
    (span,) = Extents(text).of(origin, (start, start + 5), is_order=False)
    assert text.values[0][span.start : span.end] == "là où"


# --- what is hidden ------------------------------------------------------------------------------


def match(view: str, *cuts: StringSpan) -> Match:
    return Match(RULE, Confidence.HIGH, view, (0,), 0, 4, True, (), "", cuts=cuts)


@pytest.mark.parametrize(
    ("words", "is_cut"), [("Fais-le, là-bas", True), ("dо it", False), ("d\u200bo it", False)]
)
def test_what_only_folding_shows_is_not_cut_if_somebody_hid_it(words: str, is_cut: bool) -> None:
    text, span = MessageText([words], keyed=False), StringSpan((0,), 0, len(words))
    (alone,) = settled_cuts(text, [match("folded", span)])
    assert bool(alone.cuts) is is_cut
    beside = [match("text", StringSpan((0,), 2, 4)), match("folded", span)]
    assert settled_cuts(text, beside) == beside


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
    st.text('ab. "/é\n\t', min_size=40, max_size=80), st.integers(1, 2), st.sampled_from([None, 2])
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
