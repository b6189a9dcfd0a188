"""The pages of policy, posture, secrets and tokens, with hostile names and a screen reader."""

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from pipeguard.auth.place import Place
from pipeguard.auth.secrets import store as store_secret
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.firewall.finding import Action, Confidence
from pipeguard.firewall.session.guard import EXEMPT
from pipeguard.state.review import held_definitions, reject
from pipeguard.state.store import open_store
from pipeguard.state.tokens import TokenScope, create_token, stored_tokens
from tests.assess.places import write_config
from tests.assess.test_page import violations
from tests.launch.processes import until
from tests.ui.conftest import PageHere
from tests.ui.samples import SECRET, SERVER, fill, stop

HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u2066\u202egnp.exe"
FIRST = f"- {{rule: {SECRET.rule}, server: {SERVER}, why: why a test key}}\n"
POLICY = f"""\
# mine
mode: enforce  # for now
exceptions:
{FIRST}# old
- {{rule: secrets.jwt, server: x, until: 2020-01-31, why: why it ended}}
- rule: secrets.*
  server: {json.dumps("<img src=x>" * 30)}
  why: {json.dumps("why " + "<b>" * 90)}
"""
LOOK_MS = 90_000  # the rules may have to be compiled
OUTSIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def expect_clean(page: Page, widths: tuple[int, ...] = (380, 1024)) -> None:
    """No finding of axe-core, no sideways scroll and no stranger's image, on a phone and a desk."""
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        until(lambda: page.evaluate(OUTSIDE) <= 1, "the page to fit its width")
        assert violations(page) == [], width
    assert page.locator("main img").count() == 0
    assert "owned" not in page.title()


def test_a_token_is_revoked_at_once_and_secrets_have_their_uses(store: Path, page: Page) -> None:
    with open_store(store) as opened:
        create_token(opened, "laptop", TokenScope((HOSTILE,), (HOSTILE, "github__*"), "read", 60))
        create_token(opened, HOSTILE, TokenScope())
    page.get_by_role("link", name="Tokens").click()
    row = page.get_by_role("row").filter(has_text="laptop")
    expect(row).to_contain_text("up to read, 60 calls a minute")
    expect(row).to_contain_text("not known")
    expect(row).to_contain_text("⟨U+202E⟩")
    expect_clean(page)
    row.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status")).to_contain_text("You revoked the token laptop")
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    with open_store(store) as opened:
        assert [token.name for token in stored_tokens(opened)] == [HOSTILE]
    store_secret("GITHUB_TOKEN", "a-value-nobody-sees", Place.FILE)
    store_secret("UNUSED", "another-value", Place.FILE)
    entries = {
        HOSTILE: {"command": "x", "env": {"TOKEN": "keyring:GITHUB_TOKEN"}},
        "notes": {"command": "x", "args": ["--env=A=keyring:GONE", HOSTILE]},
    }
    Path.home().joinpath(".claude.json").write_text(json.dumps({"mcpServers": entries}))
    page.get_by_role("link", name="Secrets").click()
    row = page.get_by_role("row").filter(has_text="GITHUB_TOKEN")
    expect(row).to_contain_text("The variable TOKEN")
    expect(row).to_contain_text("⟨U+202E⟩")
    expect(page.get_by_role("row").filter(has_text="UNUSED")).to_contain_text("no entry of")
    missing = page.locator("section").filter(has_text="Not stored:")
    expect(missing).to_contain_text("GONE")
    expect(missing).to_contain_text("notes in claude")
    assert "a-value-nobody-sees" not in page.content()
    expect_clean(page)


def test_posture_is_drawn_by_server_until_it_is_asked_again(store: Path, page: Page) -> None:
    clients = Path.home() / ".cursor"
    entries = {HOSTILE: {"command": "npx", "args": ["-y", "notes"]}}
    write_config(clients / "mcp.json", entries)
    page.get_by_role("link", name="Posture").click()
    expect(page.get_by_role("heading", name="Posture")).to_be_visible()
    page.evaluate("window.kept = true")
    server = page.locator("main > section").filter(
        has=page.get_by_role("heading", name="in cursor")
    )
    expect(server).to_contain_text("⟨U+202E⟩", timeout=LOOK_MS)
    expect(server.get_by_text(re.compile("^(High|Medium)$")).first).to_be_visible()
    expect(server.locator("pre.copy").first).to_contain_text("pipeguard setup cursor")
    assert page.evaluate("window.kept"), "nothing reloads under the reader"
    expect_clean(page)
    write_config(clients / "mcp.json", {})
    page.reload()
    expect(server).to_have_count(1)
    page.get_by_role("button", name="Look again").click()
    expect(server).to_have_count(0, timeout=LOOK_MS)
    expect(page.get_by_role("button", name="Look again")).to_be_visible(timeout=LOOK_MS)
    expect(page.locator(".strip")).to_contain_text("Grade A, 100 of 100.")


def test_policy_is_shown_and_a_change_is_tried_first(
    store: Path, page: Page, here: PageHere
) -> None:
    path = Path(usual_policy_path())
    path.write_text(POLICY)
    passed = SECRET._replace(action=Action.ALLOW, note=EXEMPT)
    stop(store, "AAAAAAAA.c1", SECRET)
    stop(store, "AAAAAAAA.c2", passed)
    stop(store, "AAAAAAAA.c3", passed._replace(rule="secrets.jwt", confidence=Confidence.LOW))
    page.get_by_role("link", name="Policy").click()
    expect(page).to_have_title(re.compile("^Policy"))
    expect(page.locator("tbody tr")).to_have_count(3)  # the title is there before them
    used, ended, hostile = page.locator("tbody tr").all()
    expect(used).to_contain_text("1 time")
    expect(used).to_contain_text("when the audit begins")
    expect(used).to_contain_text("Of the last 7 days, 1 event would have been stopped")
    expect(ended).to_contain_text("ended on 2020-01-31")
    expect(hostile).to_contain_text("<img src=x>")
    expect(hostile).to_contain_text("0 times")
    expect(page.locator("dl.facts")).to_contain_text("enforce your file")
    expect(page.locator("dl.facts")).to_contain_text("10000 the default")
    expect_clean(page)
    used.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status")).to_contain_text("You removed the exception for secrets.aws")
    assert path.read_text() == POLICY.replace(FIRST, "")
    # To take that back would open something without the number.
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    path.write_text(POLICY)
    page.get_by_role("link", name="Policy").click()
    expect(page.locator("#mode-effect")).to_contain_text("1 event would have passed")
    page.get_by_role("button", name="Only observe…").click()
    assert path.read_text() == POLICY
    page.get_by_label("Number").fill(here.number())
    page.get_by_role("button", name="Only observe").click()
    expect(page.get_by_role("button", name="Enforce")).to_be_visible()
    assert path.read_text() == POLICY.replace("mode: enforce", "mode: observe")
    observed = SECRET._replace(action=Action.WARN, would=Action.BLOCK)
    stop(store, "BBBBBBBB.c1", observed)
    expect(page.locator("#mode-effect")).to_contain_text("1 event would have been stopped")
    page.get_by_role("button", name="Enforce").click()
    expect(page.get_by_role("button", name="Only observe…")).to_be_visible()
    assert path.read_text() == POLICY
    path.write_text("mode: enforce\nlimits: {frame: 1}\n")
    page.reload()
    expect(page.get_by_role("heading", name="Invalid:")).to_be_visible()
    expect(page.locator("pre.said")).to_contain_text("line 2")
    expect_clean(page)


CONTROLS = ("button", "link", "checkbox", "textbox", "searchbox", "combobox")


def read_aloud(page: Page) -> list[tuple[str, str, str]]:
    """The role, the name and the description of each control, as a screen reader has them."""
    cdp = page.context.new_cdp_session(page)
    nodes = cdp.send("Accessibility.getFullAXTree")["nodes"]
    return [
        tuple(each.get(key, {}).get("value", "") for key in ("role", "name", "description"))
        for each in nodes
        if not each.get("ignored") and each.get("role", {}).get("value") in CONTROLS
    ]


def test_the_focus_goes_where_the_news_is(store: Path, page: Page, here: PageHere) -> None:
    fill(store)
    count = page.locator("#count[aria-live=polite]")
    expect(count).to_contain_text("6 things wait for you")
    stopped = page.locator("article").filter(has_text="on its way to send_note")
    stopped.get_by_text("Keep it blocked", exact=True).click()
    expect(page.locator("#done")).to_be_focused()
    expect(page.locator("#done")).to_contain_text("You kept it blocked")
    refuse = page.get_by_role("button", name="Refuse: The agent asks to call")
    refuse.focus()
    page.evaluate("window.was = document.getElementById('count')")
    stop(store, "DDDDDDDD.c1", SECRET._replace(content="0" * 32, tool="second"))
    expect(count).to_contain_text("6 things wait for you")
    expect(refuse).to_be_focused()
    page.get_by_role("button", name="Reject: get_forecast").focus()
    with open_store(store) as opened:
        reject(opened, held_definitions(opened), "kim")
    expect(count).to_contain_text("4 things wait for you")
    expect(page.get_by_role("main")).to_be_focused()
    assert page.evaluate("was.isConnected"), "a new region would not be read aloud"
    page.get_by_role("button", name="Let it reach api").click()
    page.get_by_label("Number").fill("0000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Number")).to_be_focused()
    ((_, _, said),) = [each for each in read_aloud(page) if each[0] == "textbox"]
    assert said.startswith("That is not the number.")
    assert "api.example.com:443" in said
