"""The page of the audit: its rows, their export, and the state of its chains."""

import json
from pathlib import Path

from click.testing import CliRunner
from playwright.sync_api import Page, expect

from pipeguard.cli.audit import command as audit
from pipeguard.state.audit import Audit, AuditFilter, rows
from pipeguard.state.store import open_store
from tests.ui.samples import fill

MORE = 3_000  # rows: three batches of an export


def fill_chain(store: Path) -> None:
    """Do the same as `fill`, and add a chain of many rows."""
    fill(store)
    with open_store(store) as opened:
        sample = next(row.entry for row in rows(opened, AuditFilter(action="block")))
        entry = sample._replace(action="allow", findings="[]", tool="=1+1")
        chain = Audit(opened, "MANYMANY", "many", "")
        chain.append_many(entry._replace(event=f"MANYMANY.c{number}") for number in range(MORE))


def download(page: Page, link: str) -> str:
    with page.expect_download() as started:
        page.get_by_role("link", name=link).click()
    assert started.value.suggested_filename.startswith("pipeguard-audit-")
    return Path(started.value.path()).read_text("utf-8")


def test_rows_are_found_and_exported_and_their_chain_is_verified(store: Path, page: Page) -> None:
    fill_chain(store)
    page.get_by_role("link", name="Audit").click()
    for link, form in (("as CSV", "csv"), ("JSON lines", "jsonl")):
        written = CliRunner().invoke(audit, ["export", "--format", form]).stdout
        assert download(page, link) == written
        assert written.count("\n") > MORE
    expect(page.locator("tbody tr")).to_have_count(100)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr").first).to_contain_text(f"MANYMANY, {MORE - 100}")
    page.get_by_role("searchbox").fill("verdict:block server:weather")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    lines = download(page, "JSON lines").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["AAAAAAAA.c1", "CCCCCCCC.x1"]
    page.locator("tbody tr .time a").first.click()
    expect(page.get_by_role("heading", name="stopped from reaching")).to_be_visible()
    page.get_by_role("link", name="Audit").click()
    expect(page.locator(".strip")).to_contain_text("has not been checked since")
    page.get_by_role("button", name="Check it now").click()
    expect(page.locator(".lede")).to_contain_text("Whole")
    with open_store(store) as opened:
        opened.connection.execute("UPDATE audit SET findings = 'no' WHERE event = 'AAAAAAAA.c1'")
    page.get_by_role("button", name="Check it now").click()
    expect(page.locator(".lede")).to_contain_text("Changed: 1 problem")
    expect(page.locator(".panel")).to_contain_text("row 1 was changed or moved")
    page.get_by_role("link", name="Back to the audit").click()
    expect(page.locator(".strip")).to_contain_text("The chain was changed")
    for name in ("Audit", "Live"):
        page.get_by_role("link", name=name, exact=True).click()
        page.get_by_role("searchbox").fill("server:weather")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("tbody")).to_contain_text("audit.damaged")
