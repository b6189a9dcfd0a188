"""The inputs of properties: texts, JSON values, frames. Knows no rule and no session."""

import json

from hypothesis import strategies as st

from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, serialise

# Characters that readers disagree on: line ends, invisible, look-alikes, wide, combining, astral.
ODD = (
    "\x00\x07\t\n\r\x1b\x7f\x85\u2028\u2029\u200b\u200d\ufeff\u00ad\u202e\u0301\u0591\u05b0"
    "аеоΑΒı⁄－Ａｂ１²ﬁ㎏ﷺéßİſK가\U0001d41a\U0001f600\U000e0041\U0010ffff\\\"'`{}[],:%/=+-_~"
)
characters = st.characters(exclude_categories=["Cs"])
texts = st.one_of(
    st.text(characters, max_size=12),
    st.text(st.sampled_from(ODD), max_size=8),
    st.text("abc 0", max_size=12),
)
long_texts = st.one_of(texts, st.text(st.sampled_from("ab \n" + ODD), max_size=200))
tokens = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,25})?", fullmatch=True),
    st.just("1" + "0" * 5000),
).map(Number)
values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | tokens | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects: st.SearchStrategy[JsonObject] = st.dictionaries(texts, values, max_size=4)
ids: st.SearchStrategy[str | Number] = st.one_of(
    st.integers().map(Number),
    st.text(characters, max_size=20),
    st.sampled_from([Number("0"), Number(2**63), Number("-1"), "", "0", "1"]),
)
junk = st.one_of(
    st.binary(max_size=80),
    st.text(st.sampled_from('{}[]",:01eE.-+ \\ntrufalsNI"id"method'), max_size=60).map(str.encode),
)


def spaced(value: JsonValue, between: bytes = b" \t\r\n ") -> bytes:
    """Spell JSON with white space wherever it is allowed, and every character escaped."""
    if isinstance(value, dict):
        members = (
            between + spaced(key, between) + between + b":" + between + spaced(item, between)
            for key, item in value.items()
        )
        return b"{" + b",".join(members) + between + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(between + spaced(item, between) for item in value) + between + b"]"
    if isinstance(value, str) and not isinstance(value, Number):
        return json.dumps(value, ensure_ascii=True).encode()
    return serialise(value)


def equal(one: JsonValue, other: JsonValue) -> bool:
    """True if two values have equal types, number tokens and order of keys."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        same_keys = list(one) == list(other)
        return same_keys and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


@st.composite
def mutated(draw: st.DrawFn, frames: st.SearchStrategy[bytes]) -> bytes:
    """A frame with some of its bytes taken out, doubled, moved or replaced."""
    frame = bytearray(draw(frames))
    for _ in range(draw(st.integers(0, 3))):
        if not frame:
            break
        at = draw(st.integers(0, len(frame) - 1))
        end = min(len(frame), at + draw(st.integers(1, 8)))
        change = draw(st.sampled_from(["cut", "double", "replace", "truncate"]))
        if change == "cut":
            del frame[at:end]
        elif change == "double":
            frame[at:at] = frame[at:end]
        elif change == "replace":
            frame[at:end] = draw(st.binary(min_size=1, max_size=8))
        else:
            del frame[at:]
    return bytes(frame)
