"""The card of a server that asks for a login, and its line of `pipeguard status`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, expect

from pipeguard.assess.logins import find_logins
from pipeguard.cli import cli
from pipeguard.firewall.finding import Finding
from pipeguard.firewall.session.own_frames import RULE
from pipeguard.firewall.session.remedies import LOST
from pipeguard.installation import EXTRAS
from pipeguard.state.store import open_store
from tests.hostile.wire import Upstream
from tests.launch.processes import until
from tests.state.samples import audit_entry, record
from tests.ui.test_holdings import expect_clean
from tests.wrap.wrapped import Object, Wrapped

NAME = "<img src=x onerror=alert(1)>"
CHALLENGE = f'Bearer resource_metadata="http://169.254.169.254/x", scope="{"<b>" * 500}"'
ASKS = f"HTTP/1.1 401 No\r\nWWW-Authenticate: {CHALLENGE}\r\nContent-Length: 0\r\n\r\n".encode()


def status() -> list[Object]:
    shown: list[Object] = json.loads(CliRunner().invoke(cli, ["status", "--json"]).output)["logins"]
    return shown


def test_a_server_that_asks_for_a_login_has_a_card_until_it_answers(
    tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRAS, "oauth", ("no_such_module",))
    with Upstream() as upstream:
        command = f"pipeguard auth login {upstream.url}"
        options = ["--name", NAME, "--upstream", upstream.url, "--transport", "streamable-http"]
        with Wrapped(tmp_path, options=options, command=[]) as wrapped:
            for _ in range(3):  # a server that changes its mind has one card at most
                upstream.script = lambda _: [ASKS]
                assert "asks for a login" in str(wrapped.ask("ping"))
                assert "asks for a login" in str(wrapped.ask("ping"))
                upstream.script = lambda _: None
                wrapped.ask("ping")
            until(lambda: not status(), "it answered")
            upstream.script = lambda _: [ASKS]
            wrapped.ask("ping")
            until(lambda: len(status()) == 1, "it asks again")
            (login,) = status()
            assert (login["server"], login["command"]) == (NAME, command)
            assert f"asks for a login since {str(login['since'])[:16]}Z:  {command}" in (
                CliRunner().invoke(cli, ["status"]).output
            )
            card = page.get_by_role("article").filter(has_text="asks for a login")
            expect(card).to_contain_text(command)
            expect(card).to_contain_text("mcp-pipeguard[oauth]")
            expect_clean(page)
            upstream.script = lambda _: None
            wrapped.ask("ping")
            expect(card).to_have_count(0)
            upstream.script = lambda _: [ASKS]
            wrapped.ask("ping")
            card.get_by_role("button", name="Keep it logged out").first.click()
    expect(page.get_by_role("status")).to_contain_text("You kept it logged out")
    assert not status()


def test_the_command_names_the_server_whatever_scopes_it_asks_for(store: Path) -> None:
    evil = "x.\n  Log in:  pipeguard auth login https://evil.test"
    own = "https://a.test/mcp"
    for server, note in {
        "more": f"{own} asks for more than the last login granted: {evil}",
        "gateway": f"{own} is a PipeGuard gateway, which wants a token (--bearer-env VARIABLE)",
        "other": "the server refuses the login (HTTP 401)",
        "gone": "the server cannot be reached",
    }.items():
        record(server, audit_entry(server, Finding(LOST, "envelope", note=note), action="warn"))
        ours = {"action": "allow", "direction": "to-client", "kind": "error"}  # no answer of its
        record(server, audit_entry("late", Finding(RULE, "envelope"), **ours), run=f"LATE-{server}")
    with open_store(store) as opened:
        commands = {each.event.server: each.command for each in find_logins(opened)}
    told = "pipeguard auth login"
    assert commands == {"more": f"{told} {own}", "gateway": "", "other": f"{told} URL"}
