"""The table of places: every text has one, and the rows mean what they seem to mean."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeguard.firewall.finding import MessageKind
from pipeguard.firewall.protocol import places
from pipeguard.firewall.protocol.json_values import Path
from tests.fuzz.budget import tried
from tests.fuzz.rulebook import Sample, decodable, drawn_from
from tests.fuzz.values import texts

TABLE = [(part, method) for part, rows in places.PLACES.items() for method in rows]
METHODS = sorted({method for _, method in TABLE})
WORDS = sorted(
    {
        word
        for part, method in TABLE
        for pattern in places.PLACES[part][method]
        for word in pattern.split("/")
        if "*" not in word
    }
)
steps = st.one_of(st.sampled_from(WORDS), st.integers(0, 3), texts)
paths = st.lists(steps, max_size=6).map(tuple)


@tried(300)
@given(
    st.sampled_from(["params", "result", "error"]),
    st.one_of(st.none(), st.sampled_from(METHODS), texts),
    paths,
)
def test_every_text_has_a_place_that_is_known(part: str, method: str | None, path: Path) -> None:
    assert places.name_place(part, method, path) in places.known_places()
    assert places.name_place(part, method, (part, *path)) in places.known_places()


@tried(150)
@given(st.lists(steps.filter(lambda step: "/" not in str(step)), max_size=6).map(tuple))
def test_a_pointer_names_its_path(path: Path) -> None:
    assume(not any(len(str(step)) >= 12 for step in path))  # as long as a secret
    parts = places.pointer(path).split("/")[1:]
    assume("…" not in parts)  # a key that could be a secret
    assert [part.replace("~1", "/").replace("~0", "~") for part in parts] == [*map(str, path)]


@tried(100)
@given(drawn_from(lambda: decodable("secrets", places.Surface.TO_SERVER)), paths)
def test_a_pointer_holds_no_secret(sample: Sample, path: Path) -> None:
    longest = max(sample.secret.split(), key=len)
    assume(len(longest) >= 12 and any(c.isdigit() for c in longest[:64]))
    assume(any(c.isascii() and c.isalpha() for c in longest[:64]))
    told = places.pointer((*path, sample.secret, "x"))
    assert sample.secret not in told
    assert told.endswith("/x")


def test_a_pointer_escapes_what_it_must() -> None:
    assert places.pointer(("a/b", "m~n", "~1", 0)) == "/a~1b/m~0n/~01/0"
    assert places.pointer(()) == ""


EXAMPLES: list[tuple[str, str | None, Path, str]] = [
    ("params", "tools/call", ("arguments", "a", 0, "b"), "call.arguments"),
    ("params", "tools/call", ("arguments",), "call.arguments"),
    ("params", "tools/call", ("name", "x"), "params.other"),
    ("params", "tools/call", ("_meta", "x"), "meta"),
    ("params", "tools/call", ("inputResponses", "k", "content", "x"), "answer.elicitation"),
    ("params", "tools/call", ("inputResponses", "k", "roots"), "answer.sampling"),
    ("params", "x/unknown", ("a",), "params.other"),
    ("params", None, (), "params.other"),
    ("result", "tools/call", ("content", 0, "text"), "result.text"),
    ("result", "tools/call", ("content", 0, "_meta", "x"), "meta"),
    ("result", "tools/call", ("structuredContent", "x", 1), "result.structured"),
    ("result", "tools/call", ("other",), "result.other"),
    ("result", "tools/list", ("tools", 3, "inputSchema", "x", "description"), "tool.schema"),
    ("result", "tools/list", ("tools", 3, "execution", "x"), "tool.other"),
    ("result", "tools/list", ("nextCursor",), "result.other"),
    ("result", "prompts/list", ("prompts", 0, "arguments", 0, "name"), "prompt.schema"),
    ("result", "elicitation/create", ("content", "x"), "answer.elicitation"),
    ("error", None, ("data", "x"), "error.data"),
    ("error", None, ("code",), "error.other"),
]


@pytest.mark.parametrize(("part", "method", "steps", "place"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_a_text_stands_where_the_schema_says(
    part: str, method: str | None, steps: Path, place: str
) -> None:
    assert places.name_place(part, method, (part, *steps)) == place


def test_what_stands_outside_of_its_part_is_of_the_envelope() -> None:
    assert places.name_place("params", "tools/call", ("id",)) == "envelope.other"
    assert places.name_place("params", "tools/call", ()) == "envelope.other"
    assert places.name_place("result", "tools/call", ("error", "message")) == "envelope.other"


def test_every_kind_of_message_has_a_part() -> None:
    assert places.PARTS.keys() == set(MessageKind)
    assert set(places.PARTS.values()) == {*places.PLACES, "error"}


def test_lists_and_openings_have_places() -> None:
    assert places.PLACES["result"].keys() >= {*places.LISTS, *places.OPENINGS}


@pytest.mark.parametrize(("part", "method"), TABLE)
def test_no_row_is_hidden_by_one_above_it(part: str, method: str) -> None:
    """Each row wins for at least the path that it spells out itself."""
    rows = places.PLACES[part][method]
    paths = {
        pattern: tuple("x" if word in ("*", "**") else word for word in pattern.split("/"))
        for pattern in rows
    }
    assert {
        row: places.name_place(part, method, (part, *path)) for row, path in paths.items()
    } == rows
