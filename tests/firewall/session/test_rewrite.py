"""Placeholders: exactly the finding is replaced, and nothing else changes."""

from hypothesis import assume, given
from hypothesis import strategies as st

from pipeguard.firewall.finding import Action, Finding
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, Path, serialise
from pipeguard.firewall.protocol.places import pointer
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.rewrite import MIN_COPY, placeholder, redact
from tests.fuzz.budget import tried
from tests.fuzz.values import equal, objects, texts, tokens

RULE = "secrets.some-token"
GONE = placeholder(RULE)


def found(path: Path, start: int = 0, end: int = 0, rule: str = RULE) -> Finding:
    return Finding(
        rule, "call.arguments", pointer(path), start=start, end=end, action=Action.REDACT
    )


@tried(150)
@given(texts, texts.filter(bool), texts, st.lists(texts | st.integers(0, 3), max_size=4), objects)
def test_only_the_span_goes(
    before: str, secret: str, after: str, steps: list[str | int], beside: JsonObject
) -> None:
    def built(text: str) -> JsonObject:
        value: JsonValue = text
        for step in reversed(steps):
            value = {**beside, step: value} if isinstance(step, str) else [*"abc"[:step], value]
        return {**beside, "at": value, "last": Number("1E5")}

    rest = f"{before}|{after}|{beside}"
    assume(len(secret) < MIN_COPY or secret not in rest)  # every other copy of it goes too
    assume("…" not in pointer(tuple(steps)))  # below a key that is not told, all of the text goes
    path: Path = ("at", *steps)
    assume("…" not in pointer(path))  # a key that could be a secret is not named
    assume(len(secret) < MIN_COPY or (before + secret + after).count(secret) == 1)
    assume(len(secret) < MIN_COPY or secret not in str(beside))
    finding = found(path, len(before), len(before) + len(secret))
    original = built(before + secret + after)
    kept = serialise(original)
    assert equal(redact(original, [finding]), built(before + GONE + after))
    assert serialise(original) == kept


@tried(100)
@given(objects)
def test_without_findings_all_is_equal(value: JsonObject) -> None:
    assert equal(redact(value, []), value)
    warned = Finding(RULE, "x", "", action=Action.WARN)
    assert equal(redact(value, [warned]), value)


@tried(200)
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]"), min_size=1),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8)), min_size=1, max_size=5),
)
def test_of_spans_that_touch_or_overlap_nothing_is_left(
    text: str, spans: list[tuple[int, int]]
) -> None:
    spans = [(min(low, len(text) - 1), min(low + size, len(text))) for low, size in spans]
    findings = [found(("a",), low, high) for low, high in spans]
    covered = {at for low, high in spans for at in range(low, high)}
    assume(len(set(text)) == len(text) or all(high - low < MIN_COPY for low, high in spans))
    redacted = redact({"a": text}, findings)["a"]
    assert isinstance(redacted, str)
    left = "".join(character for at, character in enumerate(text) if at not in covered)
    assert redacted.replace(GONE, "") == left
    assert redact({"a": text}, findings[::-1]) == {"a": redacted}


def test_every_other_copy_goes_as_well() -> None:
    value: JsonObject = {"a": "key 0123456789 end", "b": ["again 0123456789", "0123"], "n": None}
    assert redact(value, [found(("a",), 4, 14)]) == {
        "a": f"key {GONE} end",
        "b": [f"again {GONE}", "0123"],
        "n": None,
    }


def test_under_a_key_that_is_not_named_the_whole_string_goes() -> None:
    value: JsonObject = {"key-0123456789ab": "some text", "b": "some text"}
    assert redact(value, [found(("key-0123456789ab",), 0, 4)]) == {GONE: GONE, "b": "some text"}


def test_a_span_inside_another_takes_both() -> None:
    findings = [found(("a",), 0, 20, "secrets.outer"), found(("a",), 5, 10, "secrets.inner")]
    assert redact({"a": "0123456789abcdefghij!"}, findings) == {
        "a": placeholder("secrets.outer") + "!"
    }


def test_what_was_seen_in_another_view_takes_the_whole_string() -> None:
    value: JsonObject = {"a": "some encoded text", "b": Number("1.50")}
    assert redact(value, [found(("a",))]) == {"a": GONE, "b": "1.50"}
    assert redact(value, [found(("a",)), found(("a",), 1, 3)]) == {"a": GONE, "b": "1.50"}


@tried(60)
@given(tokens)
def test_a_number_goes_whole_and_its_neighbours_keep_their_tokens(token: Number) -> None:
    frame = b'{"a":' + token.encode() + b',"b":' + token.encode() + b"}"
    value = parse_json(frame)
    assert isinstance(value, dict)
    redacted = serialise(redact(value, [found(("a",), 0, 1)]))
    assert redacted == f'{{"a":"{GONE}","b":{token}}}'.encode()


def test_a_key_that_was_found_goes() -> None:
    value: JsonObject = {"x": {"secret": Number("1"), "other": {"y": True}}}
    assert serialise(redact(value, [found(("x", "other"))])) == (
        f'{{"x":{{"secret":1,"{GONE}":{{"y":true}}}}}}'.encode()
    )


def test_no_member_is_lost_where_several_keys_go() -> None:
    value: JsonObject = {"one": [], "two": [Number("2")], "three": {}, GONE: None}
    findings = [found((key,)) for key in ("one", "two", "three")]
    redacted = redact(value, findings)
    assert len(redacted) == len(value)
    assert [*redacted.values()] == [[], ["2"], {}, None]
    assert not {"one", "two", "three"} & set(redacted)


def test_a_pointer_with_slashes_and_tildes_is_found() -> None:
    value: JsonObject = {"a/b~c": {"~1": "secret", "/1": "other"}}
    assert redact(value, [found(("a/b~c", "~1"))]) == {"a/b~c": {"~1": GONE, "/1": "other"}}
