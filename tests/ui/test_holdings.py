"""The pages of posture, secrets and tokens, with hostile names in all fields."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from pipeguard.auth.place import Place
from pipeguard.auth.secrets import store as store_secret
from pipeguard.state.store import Store
from pipeguard.state.tokens import TokenScope, create_token, stored_tokens
from tests.assess.places import write_config
from tests.tools import npm_modules

HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u2066\u202egnp.exe"
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOK_MS = 90_000  # the rules may have to be compiled
OUTSIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def expect_clean(page: Page) -> None:
    """No finding of axe-core, no sideways scroll and no stranger's image, on a phone and a desk."""
    source = (npm_modules() / "axe-core" / "axe.min.js").read_text()
    for width in (380, 1024):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OUTSIDE) <= 1, width
        page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": source})
        found = page.evaluate(
            "tags => axe.run({runOnly: tags}).then(all => all.violations.map("
            "each => each.id + ' ' + each.nodes.map(node => node.html)))",
            STANDARDS,
        )
        assert found == [], width
    assert page.locator("main img").count() == 0
    assert "owned" not in page.title()


def test_a_token_is_revoked_at_once(store: Path, page: Page) -> None:
    with Store.open(store) as opened:
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
    with Store.open(store) as opened:
        assert [token.name for token in stored_tokens(opened)] == [HOSTILE]


def test_secrets_are_named_with_what_uses_them(store: Path, page: Page) -> None:
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
    server = page.locator("main > section").filter(
        has=page.get_by_role("heading", name="in cursor")
    )
    expect(server).to_contain_text("⟨U+202E⟩", timeout=LOOK_MS)
    expect(server.get_by_text(re.compile("^(High|Medium)$")).first).to_be_visible()
    expect(server.locator("pre.copy").first).to_contain_text("pipeguard setup cursor")
    expect_clean(page)
    write_config(clients / "mcp.json", {})
    page.reload()
    expect(server).to_have_count(1)
    page.get_by_role("button", name="Look again").click()
    expect(server).to_have_count(0, timeout=LOOK_MS)
    expect(page.get_by_role("button", name="Look again")).to_be_visible(timeout=LOOK_MS)
