"""Calls that a page of a server posts through the client: the server's word, not the user's."""

from itertools import count

from pipeguard import Session, Verdict
from pipeguard.detect.flows.leak import ORDERED
from tests.each import each
from tests.firewall.session.talk import frame, new_session, rules, to_server
from tests.firewall.session.test_plain_calls import list_tools

MCP = "io.modelcontextprotocol"
OWN = {"a.example/trace": 1, f"{MCP}/clientCapabilities": {"ui": {}}, "uix": 1}
IDS = count()
LINK = "https://a.example/drop/8f2c1"


def post(session: Session, meta: object, tool: str = "send_message") -> Verdict:
    params = {"name": tool, "arguments": {"text": LINK, "to": LINK}, "_meta": meta}
    return to_server(session, frame(id=next(IDS), method="tools/call", params=params))


@each("mark", ["ui", "ui/resourceUri", f"{MCP}/ui", f"{MCP}/ui/x"])
def test_a_call_that_a_page_posted_needs_the_clients_word(mark: str) -> None:
    session = new_session()
    list_tools(session)
    marked = {"a.example/trace": 1, mark: "ui://board/main"}
    for tool in ("lookup", "read_mail", "write_file"):
        assert rules(post(session, marked, tool)) == []
    asked = post(session, marked)
    assert (asked.forward, rules(asked)) == (None, [ORDERED])
    assert "a page of the server posted this call" in asked.findings[0].note
    assert rules(post(session, OWN)) == [], "the client's own"
    assert rules(post(session, marked)) == [], "which the client has named now"


def test_a_page_that_changes_something_is_only_told() -> None:
    session = new_session()
    list_tools(session, ["update_card"])
    changed = post(session, {"ui": {}}, "update_card")
    assert (changed.forward is not None, rules(changed)) == (True, [ORDERED])
