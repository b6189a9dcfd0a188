"""All strings of a value in one buffer: each is included, and each is found again."""

from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeguard.detect.text.document import BYTES_COUNTED, MessageText
from pipeguard.detect.text.layouts import LONGEST_LISTED, MIN_NUMBER_DIGITS
from pipeguard.firewall.protocol.json_values import JsonValue, Number, Path
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS
from tests.fuzz.budget import tried
from tests.fuzz.values import texts, tokens

MARKER = "Zm@rker§"
keys = st.one_of(texts, st.sampled_from(sorted(FIXED_VALUE_KEYS)))
values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | tokens | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=14,
)


def strings(value: JsonValue, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every string, and every number that is long enough to say something, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, (*path, index))
    elif isinstance(value, str) and (
        not isinstance(value, Number) or len(value) >= MIN_NUMBER_DIGITS
    ):
        yield path, value


def all_keys(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from all_keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from all_keys(item)


def at(value: JsonValue, path: Path) -> JsonValue:
    for step in path:
        if isinstance(value, dict):
            value = value[str(step)]
        elif isinstance(value, list):
            value = value[int(step)]
    return value


def located(text: MessageText, start: int, end: int) -> tuple[Path, int, int]:
    return text.find_path(start), *text.span(start, end)


@tried(200)
@given(values, st.booleans())
def test_every_string_and_every_key_is_read(value: JsonValue, keyed: bool) -> None:
    lines = MessageText(value, keyed=keyed).data
    for _, string in strings(value):
        assert string.encode() in lines
    for key in all_keys(value):
        assert key.encode() in lines


@st.composite
def marked(draw: st.DrawFn) -> tuple[JsonValue, str]:
    """A value with a marker somewhere in it, at any depth, as a value or a key or in one."""
    hidden = draw(texts) + MARKER + draw(texts)
    value: JsonValue = hidden
    if draw(st.booleans()):
        value = {hidden: draw(values)}
    for _ in range(draw(st.integers(0, 30))):
        if draw(st.booleans()):
            beside = draw(st.dictionaries(keys, texts, max_size=2))
            value = {**beside, draw(keys): value}
        else:
            value = [*draw(st.lists(texts, max_size=2)), value]
    return value, hidden


@tried(150)
@given(marked(), st.booleans())
def test_nothing_escapes_wherever_it_stands(case: tuple[JsonValue, str], keyed: bool) -> None:
    value, hidden = case
    text = MessageText(value, keyed=keyed)
    start = text.data.find(MARKER.encode())
    assert start >= 0
    path, first, last = located(text, start, start + len(MARKER.encode()))
    string = at(value, path)
    if isinstance(string, str) and string == hidden:
        assert string[first:last] == MARKER
    else:
        assert hidden in path


def test_many_keys_are_located_in_one_walk() -> None:
    value: JsonValue = [{f"key{number}": True} for number in range(100_000)]
    text = MessageText(value, keyed=False)
    last = text.paths[-1]
    assert last == (99_999, "key99999")


@tried(200)
@given(values)
def test_the_names_around_each_string_are_those_of_its_path(value: JsonValue) -> None:
    messages: list[JsonValue] = [value, {"params": value}, {"params": {"arguments": value}}]
    for message in messages:
        text = MessageText(message, keyed=True)
        paths = [text.segment_path(number) for number in range(text.segment_count)]
        assert text.names_around == [
            tuple(step for step in path if isinstance(step, str)) for path in paths
        ]
        assert sum(text.sizes()) == len(text.data) + 1 or not paths


@tried(200)
@given(values)
def test_each_string_towards_a_client_is_located_as_a_whole(value: JsonValue) -> None:
    text = MessageText(value, keyed=False)
    listed = {*all_keys(value)} | {
        string for path, string in strings(value) if has_fixed_value(path, string)
    }
    expected = [
        (path, string) for path, string in strings(value) if not has_fixed_value(path, string)
    ]
    position = 0
    for path, string in expected:
        end = position + len(string.encode())
        assert text.data[position:end] == string.encode()
        if string:
            assert located(text, position, end) == (path, 0, len(string))
        position = end + 1
    rest = text.data[position:].decode()
    ends = "\n".join(listed)
    assert len(rest) >= len(ends)  # before them, values whose name tells what they are
    assert sorted(rest[len(rest) - len(ends) :]) == sorted(ends)


def has_fixed_value(path: Path, string: str) -> bool:
    return bool(path) and path[-1] in FIXED_VALUE_KEYS and not isinstance(string, Number)


@tried(200)
@given(values, st.booleans(), st.data())
def test_any_stretch_is_located_somewhere_in_the_value(
    value: JsonValue, keyed: bool, data: st.DataObject
) -> None:
    text = MessageText(value, keyed=keyed)
    assume(text.data)
    start = data.draw(st.integers(0, len(text.data) - 1))
    end = data.draw(st.integers(start, len(text.data)))
    path, first, last = located(text, start, end)
    string = at(value, path)
    if isinstance(string, str):
        assert 0 <= first <= last
        if keyed or not set(path) & all_of(value):
            assert last <= len(string)


def all_of(value: JsonValue) -> set[str | int]:
    return {*all_keys(value)}


@pytest.mark.parametrize("keyed", [True, False])
def test_a_span_is_found_in_any_order_in_a_long_text(keyed: bool) -> None:
    long = "a\u00e9\u6f22\U0001f600" * (BYTES_COUNTED // 2)
    text = MessageText({"key0": "first", "key1": long}, keyed=keyed)
    head = text.data.index(long.encode())
    for low in (len(long) - 3, 0, BYTES_COUNTED, len(long) // 2 + 1):
        start = head + len(long[:low].encode())
        end = start + len(long[low : low + 3].encode())
        assert located(text, start, end) == (("key1",), low, low + 3)
    within = head + len("a\u00e9".encode()) + 1
    assert located(text, within, within + 1) == (("key1",), 2, 2)


@tried(150)
@given(st.lists(texts.filter(bool), min_size=1, max_size=6), st.booleans(), st.data())
def test_the_very_span_is_found(items: list[str], keyed: bool, data: st.DataObject) -> None:
    """A value of known layout has known offsets of each character."""
    value: JsonValue = {f"key{index}": item for index, item in enumerate(items)}
    text = MessageText(value, keyed=keyed)
    index = data.draw(st.integers(0, len(items) - 1))
    item = items[index]
    low = data.draw(st.integers(0, len(item) - 1))
    high = data.draw(st.integers(low + 1, len(item)))
    before = "\n".join(
        (f"key{number}: {string}" if keyed else string)
        for number, string in enumerate(items[:index])
    )
    head = (before + "\n" if index else "") + (f"key{index}: " if keyed else "")
    start = len((head + item[:low]).encode())
    end = len((head + item[:high]).encode())
    assert text.data[start:end] == item[low:high].encode()
    assert located(text, start, end) == ((f"key{index}",), low, high)


@tried(150)
@given(values)
def test_joined_is_the_values_with_nothing_between(value: JsonValue) -> None:
    text = MessageText(value, keyed=True)
    parts = [string for path, string in strings(value) if not is_listed(path, string)]
    assert text.join_values() == "".join(parts).encode()
    assert text.is_several == (len(parts) > 1)


def is_listed(path: Path, string: str) -> bool:
    """True for a string that a schema lists, which would separate the pieces of a secret."""
    return (
        has_fixed_value(path, string)
        and len(string) <= LONGEST_LISTED
        and (string.islower() or string == "2.0")
    )


@tried(150)
@given(st.lists(texts, min_size=1, max_size=6), st.data())
def test_a_stretch_of_the_joined_text_tells_its_strings(
    items: list[str], data: st.DataObject
) -> None:
    value: JsonValue = [{"a": item} for item in items]
    text = MessageText(value, keyed=True)
    length = len(text.join_values())
    assume(length)
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    spans: list[tuple[int, int]] = []
    position = 0
    for item in items:
        spans.append((position, position + len(item.encode())))
        position = spans[-1][1]
    crossed = [
        (index, "a")
        for index, (low, high) in enumerate(spans)
        if low < end and high > start and low < high
    ]
    assert text.locate_joined(start, end) == (crossed, len(crossed) > 1)


def test_towards_a_server_a_value_stands_after_its_key() -> None:
    value: JsonValue = {"a": "b", "c": {"d": ["e", {"f": None}]}, "n": Number("123456789")}
    assert MessageText(value, keyed=True).data == b"a: b\nc: \nd: \ne\nf: \nn: 123456789"


def test_towards_a_client_keys_and_fixed_values_stand_last_and_once() -> None:
    value: JsonValue = {"content": [{"type": "text", "text": x} for x in ("one", "two")]}
    assert MessageText(value, keyed=False).data == b"one\ntwo\ncontent\ntype\ntext"


@pytest.mark.parametrize("keyed", [True, False])
def test_a_key_is_located_by_the_path_it_leads_to(keyed: bool) -> None:
    text = MessageText([{"x": {"marked": None}}], keyed=keyed)
    assert text.find_path(text.data.index(b"marked")) == (0, "x", "marked")


@pytest.mark.parametrize("keyed", [True, False])
def test_half_a_character_is_an_error_wherever_it_stands(keyed: bool) -> None:
    half = "\ud800"
    broken: list[JsonValue] = [half, {half: None}, [{"type": half}], {"a": [half]}]
    for value in broken:
        with pytest.raises(UnicodeEncodeError):
            MessageText(value, keyed=keyed)


@pytest.mark.parametrize("keyed", [True, False])
def test_a_value_without_a_string_has_no_text(keyed: bool) -> None:
    text = MessageText([None, True, Number("12345678")], keyed=keyed)
    assert text.data == b""
    assert not text.is_several


def test_a_key_or_a_value_with_a_colon_stays_whole() -> None:
    text = MessageText({"a: b": "c: d", "l": ["x: y"], "n": Number("1")}, keyed=True)
    assert text.strings == ["c: d", "", "x: y", ""]
