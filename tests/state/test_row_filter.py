"""The filter that a person types: it parses everything or explains the error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.state.audit import Audit, AuditEntry
from pipeguard.state.calls import find_calls
from pipeguard.state.pins import Store
from pipeguard.state.row_conditions import to_condition
from pipeguard.state.row_filter import FIELDS, WrongFilterError, parse_filter
from pipeguard.state.search import find_rows, stream_rows
from pipeguard.state.store import open_store

VALUES = {
    "verdict": ("allow", "block", "asks"),
    "would": ("cut", "block"),
    "since": ("1d", "2026-03-02", "3w"),
    "slower": ("500ms", "1.5s", "2m"),
    "larger": ("10kb", "7B", "1mb"),
}
WORD = st.text(  # of an address, which holds no half of a pair (RFC 3986, UTF-8)
    st.characters(exclude_characters='"', exclude_categories=["Cs"]), min_size=1, max_size=12
)
PIECES = st.one_of(
    st.sampled_from(['"', ",", "-", ":", " ", "*", *(f"{name}:" for name in FIELDS)]),
    st.sampled_from([value for values in VALUES.values() for value in values]),
    st.text(max_size=8),
)
ENTRY = AuditEntry(
    *("2026-03-02T10:00:00.000Z", "Claude Code 2.1", "to-server", "request", "tools/call"),
    *("read_[x]", "block", "AAAAAAAA.c1", "0" * 64, 2000),
    '[{"rule":"secrets.github-token","would":"block"}]',
)
ANSWER = ENTRY._replace(
    time="2026-03-02T10:00:00.700Z",
    direction="to-client",
    kind="result",
    action="allow",
    event="AAAAAAAA.s1",
    frame_bytes=90_000,
    findings="[]",
    token="ci",
    request_bytes=2000,
    duration_ms=700.0,
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_text_is_read_or_told_what_is_wrong(text: str) -> None:
    read, problem = None, ""
    try:
        read = parse_filter(text)
    except WrongFilterError as error:
        problem = str(error)
    if read is None:
        assert problem
        return
    condition, values = to_condition(read)
    assert condition.count("?") == len(values)


@given(st.sampled_from(FIELDS), st.lists(WORD, min_size=1, max_size=3), st.booleans())
def test_values_of_names_come_back_as_they_were(name: str, values: list[str], is_not: bool) -> None:
    values = list(VALUES.get(name, values))
    text = f"{'-' * is_not}{name}:" + ",".join(f'"{value}"' for value in values)
    (term,) = parse_filter(text).terms
    wanted = ["ask" if value == "asks" and name == "verdict" else value for value in values]
    assert (term.field, list(term.values), term.is_not) == (name, wanted, is_not)


WRONG = {
    "srver:x": "Did you mean `server`",
    "verdict:blok": "is one of allow, warn",
    "since:yesterday": "since: cannot be yesterday",
    'tool:"x': "no second one",
    "tool:": "needs a value",
    "-": "says nothing",
    "x " * 21: "at most 20 parts",
    "x" * 501: "at most 500 characters",
}


@pytest.mark.parametrize(("text", "reason"), WRONG.items(), ids=str)
def test_what_is_wrong_is_said_with_what_is_possible(text: str, reason: str) -> None:
    with pytest.raises(WrongFilterError, match=reason):
        parse_filter(text)


FOUND = {  # which of the two rows fit: the request, the answer
    "": "qa",
    "server:weather": "qa",
    "server:weather,files": "qa",
    "tool:read_[x]": "qa",
    "tool:read_[*": "qa",
    'client:"claude code"': "qa",
    "token:ci": "a",
    "-verdict:allow": "q",
    "verdict:block": "q",
    "verdict:held": "",
    "rule:secrets": "q",
    "rule:secret": "",
    "would:block": "q",
    "would:cut": "",
    "event:AAAAAAAA.s1": "a",
    "since:2026-03-02T10:00:00.500Z": "a",
    "slower:500ms": "a",
    "larger:50kb": "a",
    "larger:2kb -larger:50kb": "q",
    "GitHub-Token": "q",
    "weather -slower:500ms": "q",
    "%": "",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store(tmp_path / "pipeguard.db")
    Audit(opened, "AAAAAAAA", "weather", "").append_many([ENTRY, ANSWER])
    return opened


@pytest.mark.parametrize(("text", "rows"), FOUND.items(), ids=str)
def test_a_filter_finds_rows(text: str, rows: str, store: Store) -> None:
    with store:
        found = [row.entry for _, row in find_rows(store, parse_filter(text), limit=9).rows]
        assert found == [{"q": ENTRY, "a": ANSWER}[each] for each in reversed(rows)]
        assert [row.entry for row in stream_rows(store, parse_filter(text))] == found[::-1]


def test_a_request_and_its_answer_are_one_call(store: Store) -> None:
    warned = ENTRY._replace(action="warn", time="2026-03-02T10:00:01.000Z", event="AAAAAAAA.c2")
    answer = ANSWER._replace(time="2026-03-02T10:00:01.700Z", event="AAAAAAAA.s2")
    waits = ENTRY._replace(action="allow", time="2026-03-02T10:00:02.000Z", event="AAAAAAAA.c3")
    ping = ENTRY._replace(action="allow", method="ping", event="")
    with store:
        Audit(store, "AAAAAAAA", "weather", "").append_many([warned, answer, waits, ping])
        calls, _ = find_calls(store, parse_filter(""), limit=9)
        shown = [(call.row.entry.event, bool(call.answer), call.sent_bytes) for call in calls]
        assert shown == [
            ("AAAAAAAA.c3", False, (2000, None)),
            ("AAAAAAAA.c2", True, (2000, 90_000)),  # the graver of the two rows decides
            ("AAAAAAAA.c1", True, (2000, 90_000)),
        ]
        ((one,), _) = find_calls(store, parse_filter("verdict:warn"), limit=9)
        assert one.answer is not None  # it is looked up, though the filter leaves it out
        assert find_calls(store, parse_filter("verdict:allow slower:1ms"), limit=9)[0] == []
        _, older = find_calls(store, parse_filter(""), limit=2)
        second, _ = find_calls(store, parse_filter(""), limit=2, before=older)
        assert [call.row.entry.event for call in second] == ["AAAAAAAA.c1"]


def test_a_slow_call_and_one_that_waited_are_one_call_each(tmp_path: Path) -> None:
    asked = ENTRY._replace(action="ask", frame_bytes=7)
    granted = '[{"rule":"flows.ordered","note":"allowed once, as event AAAAAAAA.c2"}]'
    review = '[{"rule":"trust.held","action":"block"},{"rule":"flows.ordered","action":"warn"}]'
    quick = ANSWER._replace(time="2026-03-02T10:30:00.000Z", event="", request_bytes=9)
    entries = [
        ENTRY._replace(action="allow", time="2026-03-02T10:00:03.000Z", findings="[]"),
        asked._replace(event="AAAAAAAA.c2"),
        asked._replace(action="warn", findings=granted, event="AAAAAAAA.c3"),
        *[quick] * 2_000,
        ANSWER._replace(time="2026-03-02T11:00:00.000Z", duration_ms=3_600_000.0),
        ENTRY._replace(findings=review, kind="result", event="AAAAAAAA.s9"),
    ]
    with open_store(tmp_path / "pipeguard.db") as store:
        Audit(store, "AAAAAAAA", "weather", "").append_many(entries)
        for query in ("slower:1m", "larger:2kb -slower:1ms verdict:allow"):
            ((slow,), _) = find_calls(store, parse_filter(query), limit=9)
            assert None not in slow, "2,000 rows are between them"
        events = {"ask": ["c2"], "ask,warn": ["c3"], "held": ["s9"], "block": []}
        for verdicts, shown in events.items():
            found, _ = find_calls(store, parse_filter(f"verdict:{verdicts}"), limit=9)
            assert [call.row.entry.event[9:] for call in found] == shown, verdicts


def test_an_answer_that_was_judged_for_long_belongs_to_its_call(tmp_path: Path) -> None:
    """Its duration ends when judging begins; a call without an answer takes no other's."""
    seconds = {"c0": "08.000", "c1": "08.321", "s1": "08.640", "c2": "08.700", "c3": "08.701"}
    seconds |= {"s3": "09.900", "s2": "09.910", "c4": "20.000", "c5": "25.000", "s5": "25.100"}
    entries = [
        (ANSWER if name[0] == "s" else ENTRY)._replace(
            time=f"2026-03-02T18:31:{moment}Z",
            event=f"AAAAAAAA.{name}",
            action="warn" if name[0] == "s" else "allow",
            duration_ms=25.0 if name[0] == "s" else None,
        )
        for name, moment in seconds.items()
    ]
    with open_store(tmp_path / "pipeguard.db") as store:
        Audit(store, "AAAAAAAA", "weather", "").append_many(entries)
        for query, limit in (("", 9), ("verdict:warn", 9), ("", 2)):
            found, before, is_first = list[tuple[str, ...]](), 0, True
            while before or is_first:
                is_first, where = False, parse_filter(query)
                calls, before = find_calls(store, where, limit=limit, before=before)
                found += [
                    tuple(row.entry.event[9:] if row else "" for row in (call.request, call.answer))
                    for call in calls
                ]
            paired = {one for one in found if all(one)}
            assert paired == {(f"c{n}", f"s{n}") for n in (1, 2, 3, 5)}, query
            assert len(found) == (4 if query else 6), "c0 and c4 have no answer"
