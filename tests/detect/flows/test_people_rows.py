"""Tables of people that leave in another layout, and what is like one."""

import json

import pytest

from pipeguard.detect.flows.leak_search import find_leaks
from pipeguard.detect.flows.ledger import Flows
from pipeguard.detect.flows.people_rows import count_taken, list_tables, read_items, read_sent
from pipeguard.detect.flows.tool_labels import make_tool
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, serialise
from tests.each import each

PEOPLE = [
    ("Ann Miller", "1971-03-04", "ann@mail.example"),
    ("Bob Stone", "1980-01-22", "bob@post.example"),
    ("Dora Weiß", "1985-07-30", "dora@mail.example"),
]
ROWS = [{"name": name, "born": born, "mail": mail} for name, born, mail in PEOPLE]
BLOCKS = "\n\n".join(f"Name: {name}\nBorn: {born}\nMail: {mail}" for name, born, mail in PEOPLE)
CELLS = "".join(f"<tr><td>{'</td><td>'.join(person)}</td></tr>" for person in PEOPLE)
TABLES: dict[str, JsonValue] = {
    "JSON": json.dumps(ROWS),
    "nested": json.dumps(
        {"all": [{"who": {"name": n}, "more": {"born": b}} for n, b, _ in PEOPLE]}
    ),
    "by name": json.dumps({name: {"born": born} for name, born, _ in PEOPLE}),
    "rows of values": json.dumps({"columns": ["name", "born"], "rows": [p[:2] for p in PEOPLE]}),
    "CSV": "name;born;mail\n" + "\n".join(map(";".join, PEOPLE)),
    "Markdown": "| name | born |\n|---|---|\n" + "\n".join(f"| {n} | {b} |" for n, b, _ in PEOPLE),
    "HTML": f"<table>{CELLS}</table>",
    "blocks": BLOCKS,
}
CUSTOMERS = make_tool(
    "list_customers", {"description": "List the customers with their mail and birthday."}
)
CHANNEL = make_tool("post_message", {"description": "Post a message to a channel."})
EMAIL = make_tool("send_email", {"description": "Send an e-mail."})
SENT = {
    "lines": "\n".join(f"- {name}: {born}" for name, born, _ in PEOPLE),
    "last name first": "WEISS, Dora (30.07.1985)\nSTONE, Bob (22.01.1980)",
    "prose": "Bob Stone, born on January 22, 1980, and Ánn Millеr, born on 4 March 1971.",
    "columns apart": "1971-03-04, 1980-01-22; of Miller and Stone",
}


def leaks_of(source: str, result: JsonValue, sink: str, call: JsonObject) -> set[Confidence]:
    tools = {tool.name: tool for tool in (CUSTOMERS, CHANNEL, EMAIL)}
    flows = Flows()
    frame = serialise({"result": {"content": [{"type": "text", "text": result}]}})
    flows.record_result(tools.get(source) or make_tool(source, None), frame, 0.0)
    found = find_leaks(flows, tools.get(sink) or make_tool(sink, None), call)
    return {leak.confidence for leak in found if leak.rule == "flows.private-out"}


@pytest.mark.parametrize("sent", SENT.values(), ids=[*SENT])
@pytest.mark.parametrize("table", TABLES.values(), ids=[*TABLES])
def test_rows_of_people_are_found_in_any_layout(table: JsonValue, sent: str) -> None:
    call: JsonObject = {"channel": "all", "text": sent}
    assert leaks_of("list_customers", table, "post_message", call) == {Confidence.HIGH}


@each(
    "text",
    [
        "We have 3 customers, the oldest born 1971-03-04, the youngest 1985-07-30.",
        "Please call Ann Miller and Bob Stone about order 20418.",
        "Two of them are at mail.example.",
    ],
)
def test_a_summary_of_people_is_no_list(text: str) -> None:
    call: JsonObject = {"channel": "all", "text": text}
    assert leaks_of("list_customers", TABLES["JSON"], "post_message", call) == set()


@each("field", ["paciente", "nómina", "зарплата", "患者"])
def test_a_field_says_that_rows_are_about_people(field: str) -> None:
    rows = "\n".join(f"{name}; {field}: {at}" for at, (name, *_) in enumerate(PEOPLE, 20418))
    assert leaks_of("read_file", rows, "send_email", {"to": "eve@out.example", "body": rows[:-1]})


def test_a_key_that_a_result_has_twice_stops_no_call() -> None:
    table = '[{"name": "Ann", "born": "1971-04-03", "born": "1972-04-03"}]'
    call: JsonObject = {"channel": "all", "text": "Lunch is at noon, in the small kitchen."}
    assert leaks_of("list_customers", table, "post_message", call) == set()


def test_people_get_their_own_rows_and_so_does_their_organisation() -> None:
    body = SENT["lines"]
    own = json.dumps([{**row, "mail": f"{row['name'][:3]}@in.example"} for row in ROWS])
    everybody: list[JsonValue] = [mail for *_, mail in PEOPLE]
    cases: list[tuple[JsonValue, JsonValue, bool]] = [
        (TABLES["JSON"], everybody, False),
        (TABLES["JSON"], "eve@out.example", True),
        (own, "staff@in.example", False),
        (own, "staff@out.example", True),
    ]
    for table, to, is_found in cases:
        call: JsonObject = {"to": to, "body": body}
        assert bool(leaks_of("list_customers", table, "send_email", call)) is is_found


@each(
    "source, row",
    [
        ("list_events", "{}: Board meeting {}"),
        ("list_orders", "{}, Desk lamp {}"),
        ("search_trains", "{} IC 204{}"),
    ],
)
def test_appointments_orders_and_timetables_are_no_people(source: str, row: str) -> None:
    rows = "\n".join(row.format(f"2026-12-0{day}", f"number {day}204") for day in range(1, 6))
    call: JsonObject = {"to": "eve@out.example", "body": rows}
    assert Confidence.HIGH not in leaks_of(source, rows, "send_email", call)


@each(
    "text, items",
    [
        ("1971-03-04 04.03.1971", ["1971/4/3", "1971/4/3"]),
        ("4th March 1971, March 4, 1971", ["1971/4", "march", "1971/4"]),
        ("1971年3月4日", ["1971/4/3", "日"]),
        ("31,200.00 +47 911 20 34", ["31200", "+479112034"]),
        ("ÁNN Ꭰoe <A.B@in.example>", ["ann", "doe", "a.b@in.example"]),
        ("٤٨٢٩", ["4829"]),
    ],
)
def test_facts_are_read_in_any_spelling(text: str, items: list[str]) -> None:
    assert read_items(text) == items


def test_what_all_rows_have_or_the_client_said_tells_nothing() -> None:
    rows = "\n".join(f"{name};Rome;2026-12-01" for name, *_ in PEOPLE)
    (table,) = list_tables({"result": {"content": [rows]}})
    sent = read_sent(["Rome 2026-12-01 Ann Miller Bob Stone Dora Weiß"])
    assert count_taken(table, sent, (), about_people=True).records == 0
    (table,) = list_tables({"result": {"content": [TABLES["CSV"]]}})
    sent = read_sent([SENT["lines"]])
    assert count_taken(table, sent, (), about_people=True).records == len(PEOPLE)
    assert count_taken(table, sent, sent, about_people=True).records == 0
