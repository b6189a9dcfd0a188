"""The page of servers: facts about each, and an entry that is guarded and restored."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Locator, Page, expect

from pipeguard.cli import cli
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.state.store import open_store
from pipeguard.state.tokens import TokenScope, create_token
from pipeguard.ui.app import MENU
from tests.files import write_file, write_program
from tests.gateway.served import ServedAt, actor, write_servers
from tests.state.samples import held, seen
from tests.ui.conftest import PageHere
from tests.ui.samples import SECRET, SERVER, fill, new_tool, stop
from tests.ui.test_holdings import POLICY, expect_clean, read_aloud

HOSTILE = "<b>notes</b>\u202e"
WRAP = ("wrap", "--name", "guarded", "--")
PATHS = (
    *("/", "/live?open=AAAAAAAA.c1", "/servers", "/tools?q=forecast"),
    *("/tools/weather/get_forecast", "/policy", "/tokens", "/audit", "/event/AAAAAAAA.c1"),
)
KEY = "k4J9xQ2mV7pL0sT8wZ3r"


@pytest.fixture
def client_file(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cursor's file with two servers that are not guarded, and a program that setup can name."""
    text = f'#!/bin/sh\nexec {sys.executable} -E -P -m pipeguard "$@"\n'
    program = write_program(tmp_path / "bin" / "pipeguard", text)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    servers = {
        "memory": {"command": "npx", "args": ["-y", "server-memory"], "env": {"API_KEY": KEY}},
        "guarded": {"command": str(program), "args": [*WRAP, "npx", "x"]},
        HOSTILE: {"command": "npx", "args": ["-y", "\u202enotes"]},
    }
    path = tmp_path / ".cursor" / "mcp.json"
    write_file(path, json.dumps({"mcpServers": servers}, indent=3))
    with open_store(store) as opened:
        opened.remember(SERVER, [seen(), held()])
    stop(store, "AAAAAAAA.c1", SECRET)
    return path


def article(page: Page, name: str) -> Locator:
    """The part of the page about one server."""
    return page.locator("article").filter(has=page.get_by_role("heading", name=name))


def visit(page: Page, path: str) -> None:
    page.goto("/".join(page.url.split("/")[:4]) + path)


def test_each_server_is_shown_with_what_is_known_of_it(client_file: Path, page: Page) -> None:
    visit(page, "/servers")
    known = article(page, SERVER)
    expect(known).to_contain_text("Ended")
    expect(known).to_contain_text("1 of 1 tools held")
    expect(known).to_contain_text("no file of a client on this machine starts it")
    expect(known.get_by_role("img", name="Blocked each hour, at most 1")).to_be_visible()
    open_one = article(page, "memory")
    expect(open_one).to_contain_text("Not guarded")
    expect(open_one).to_contain_text("PipeGuard is not between it and its client")
    expect(open_one.get_by_role("img")).to_have_count(0)
    expect(page.get_by_role("heading", name="⟨U+202E⟩")).to_be_visible()
    assert page.locator("h2 b").count() == 0
    guarded = article(page, "guarded")
    expect(guarded).to_contain_text("it has not run under PipeGuard yet")
    expect(guarded).to_contain_text("it runs with your rights")
    expect(guarded.get_by_role("link", name="Isolate it")).to_be_visible()
    assert KEY not in page.content()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who runs")
def test_a_gateway_of_ours_and_its_servers_that_answer_are_said_to_run(
    client_file: Path, tmp_path: Path, page: Page
) -> None:
    home = tmp_path / "config" / "pipeguard"
    write_servers(home, {"behind": actor(), "dead": {"command": "false"}})
    with (
        ServedAt(tmp_path / "other") as other,
        ServedAt(tmp_path, "--config", str(write_servers(tmp_path / "x", {}))) as elsewhere,
    ):
        assert other.url
        assert elsewhere.url
        visit(page, "/servers")
        expect(article(page, "behind")).to_contain_text("it has not run under PipeGuard yet")
    with ServedAt(tmp_path) as ours:
        assert ours.url
        visit(page, "/servers")
        expect(article(page, "behind")).to_contain_text("Runs since")
        expect(article(page, "dead")).to_contain_text("Does not answer")
        expect(article(page, "dead")).to_contain_text("has sent nothing since its start at")


def test_an_entry_is_guarded_by_number_and_given_back(
    client_file: Path, page: Page, here: PageHere
) -> None:
    before = client_file.read_bytes()
    visit(page, "/servers")
    for is_last in (False, True):
        article(page, "memory").get_by_role("link", name="Guard it").click()
        expect(page.locator("pre.said")).to_contain_text('+        "wrap"')
        assert KEY not in page.content()
        page.get_by_role("button", name="Guard…").click()
        expect(page).to_have_title(re.compile("Type the number"))
        assert client_file.read_bytes() == before
        page.get_by_label("Number").fill(here.number())
        page.get_by_role("button", name="Guard").click()
        expect(page.get_by_role("status")).to_contain_text("PipeGuard now guards memory")
        servers = json.loads(client_file.read_bytes())["mcpServers"]
        assert servers["memory"]["args"][0] == "wrap"
        assert servers[HOSTILE]["command"] == "npx"
        if not is_last:
            page.get_by_role("button", name="Undo").click()
            expect(page.get_by_role("status")).to_contain_text("You took this back")
            assert client_file.read_bytes() == before
            visit(page, "/servers")
    assert CliRunner().invoke(cli, ["setup", "--undo", "cursor", "--yes"]).exit_code == 0
    assert client_file.read_bytes() == before
    visit(page, "/servers")
    article(page, "memory").get_by_role("link", name="Guard it").click()
    page.get_by_role("button", name="Guard…").click()
    client_file.write_bytes(before + b"\n")  # after it was shown
    page.get_by_label("Number").fill(here.number())
    page.get_by_role("button", name="Guard").click()
    expect(page.get_by_role("heading", name="Nothing was done")).to_be_visible()
    assert client_file.read_bytes() == before + b"\n"


def test_a_screen_reader_says_what_each_control_does_and_to_what(
    client_file: Path, store: Path, page: Page
) -> None:
    """Each name is unique, and begins with its visible label (WCAG 2.5.3); axe-core has more."""
    fill(store)
    with open_store(store) as opened:
        for name in ("laptop", "ci"):
            create_token(opened, name, TokenScope())
        opened.remember("notes", [new_tool(name, "A tool.", {}) for name in ("one", "two")])
    stop(store, "DDDDDDDD.c1", SECRET._replace(content="0" * 32, tool="second"))
    path = Path(usual_policy_path())
    path.write_text(POLICY)
    for place in PATHS:
        visit(page, place)
        expect_clean(page, (390, 1024))
        assert page.locator(":is(a, button, input)[aria-labelledby]").count() == 0, place
        menu = [("link", name) for name, _ in MENU]  # which a page's way back repeats
        said = [each[:2] for each in read_aloud(page) if each[:2] not in menu]
        assert [name for _, name in said if not name] == [], place
        assert sorted({each for each in said if said.count(each) > 1}) == [], place


@pytest.mark.needs("bubblewrap")
def test_a_new_server_is_isolated_before_anybody_approves_what_it_offers(
    client_file: Path, store: Path, page: Page, here: PageHere
) -> None:
    with open_store(store) as opened:
        opened.remember("guarded", [new_tool("one", "A tool.", {})])
    before = client_file.read_bytes()
    visit(page, "/")
    first = page.get_by_role("link", name="Isolate it first…: guarded offers 1 tool")
    started = page.locator("article", has_text="guarded offers 1 tool").locator(".head figure")
    expect(started).to_contain_text("npx x")
    expect(started).to_contain_text(client_file.name)
    first.click()
    reach = page.get_by_role("region", name="All that it can touch then")
    expect(reach).to_contain_text("no host, and no port of this machine")
    expect_clean(page)
    page.get_by_role("button", name="Isolate…").click()
    page.get_by_label("Number").fill(here.number())
    assert client_file.read_bytes() == before
    page.get_by_role("button", name="Isolate").click()
    expect(page.locator("#done")).to_contain_text("guarded")
    assert "--isolate" in json.loads(client_file.read_bytes())["mcpServers"]["guarded"]["args"]
    visit(page, "/")
    expect(page.get_by_role("heading", name="guarded offers 1 tool")).to_be_visible()
    expect(first).to_have_count(0)
