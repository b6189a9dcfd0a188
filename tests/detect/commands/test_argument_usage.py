"""Uses: the purpose of each string of a message, and strings that something acts on."""

from pipeguard.detect.commands.argument_roles import IDLE, ArgumentRole
from pipeguard.detect.commands.argument_usage import PROGRAMS, WHOLE_BYTES, Uses
from pipeguard.detect.text.document import MessageText


def uses(tool: str, **arguments: object) -> Uses:
    params = {"name": tool, "arguments": arguments}
    return Uses(MessageText({"params": params}, keyed=True), tool)  # type: ignore[dict-item]


def at(*steps: str | int) -> tuple[str | int, ...]:
    return ("params", "arguments", *steps)


def test_a_value_in_a_record_or_a_row_is_a_value() -> None:
    assert uses("create_ticket").role(at("fields", "customfield_1")) is ArgumentRole.VALUE
    rows = [{"a": "x"}] * 100
    assert uses("lookup", items=rows).role(at("items", 3, "a")) is ArgumentRole.VALUE
    assert uses("run_command", items=rows).role(at("items", 3, "a")) is ArgumentRole.COMMAND


def test_a_long_text_that_is_written_is_idle_and_a_short_one_may_be_what_is_looked_for() -> None:
    long, short = "x" * (WHOLE_BYTES + 1), "http://169.254.169.254/"
    found = uses("send", content=long, message=short, command="ls é")
    data = found.text.data
    for programs in (True, False):
        idle = IDLE if programs else (*IDLE, *PROGRAMS)
        busy = b"".join(data[a:b] for a, b in found.busy(0, len(data), idle))
        assert long.encode() not in busy
        assert short.encode() in busy
        assert (b"command: ls" in busy) is programs


def test_a_stretch_is_cut_where_it_begins_and_ends() -> None:
    found = uses("lookup", a="b" * 100, text="c" * 1000, d="e" * 100)
    data = found.text.data
    first, second = data.index(b"b" * 100), data.index(b"e" * 100)
    assert found.busy(first + 10, first + 20, IDLE) == [(first + 10, first + 20)]
    middle = data.index(b"c" * 1000)
    assert found.busy(middle, middle + 500, IDLE) == []
    assert found.busy(second, second + 5, IDLE) == [(second, second + 5)]


def test_what_is_looked_for_is_a_value_unless_it_begins_as_a_statement() -> None:
    query = uses("find_user", query="x")
    assert query.role_of_value(at("query"), "select 1") is ArgumentRole.STATEMENT
    assert query.role_of_value(at("query"), "*)(uid=*") is ArgumentRole.VALUE
    assert query.role_of_value(at("name"), "select 1") is ArgumentRole.VALUE


def test_a_text_that_the_tool_makes_something_of_is_parsed() -> None:
    assert uses("parse_xml").role(at("content")) is ArgumentRole.PARSED
    assert uses("render_template").role(at("subject")) is ArgumentRole.PARSED
    assert uses("format_code").role(at("source")) is ArgumentRole.WRITTEN
    assert uses("write_file").role(at("content")) is ArgumentRole.WRITTEN
