"""The page of calls: its list, the details of a row, and the results of a filter."""

import json
import re
import time
from pathlib import Path
from urllib.parse import quote

from click.testing import CliRunner
from playwright.sync_api import Page, expect

from pipeguard.assess.isolated_servers import RunningProcesses
from pipeguard.cli.explain import command as explain
from pipeguard.firewall.finding import Direction, Finding, MessageKind
from pipeguard.firewall.session import replies
from pipeguard.state.audit import Audit, AuditEntry, findings_json
from pipeguard.state.grants import CallGrant, make_grant
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import to_utc_text
from pipeguard.ui.plots import sparkline
from tests.state.samples import FINDING, silent, verdict
from tests.ui.samples import MARK, ORDER, SECRET, fill, stop

HOSTILE = "\u202e\u2066<script>boom()</script><b>'\"&\u200b" + "W" * 10_000


def call(store: Path, count: int = 1, tool: str = "read_file") -> None:
    """Record calls that pass, each with its answer."""
    recorder = Recorder(store, "files", "LIVELIVE", log=silent)
    recorder.client = "Claude Code 2.1"
    for number in range(count):
        request = verdict(f"LIVELIVE.c{number}", b"x" * 142)._replace(tool=tool)
        recorder.record(request)
        answer = request._replace(direction=Direction.TO_CLIENT, kind=MessageKind.RESULT)
        answer = answer._replace(event=f"LIVELIVE.s{number}", frame=b"y" * 8100)
        recorder.record(answer._replace(request_bytes=142, answer_seconds=0.004))
    recorder.close()


def open_live(page: Page, query: str = "", more: str = "") -> None:
    page.goto("/".join((*page.url.split("/")[:4], f"live?q={quote(query)}{more}")))


def test_a_call_shows_up_by_itself_and_many_are_only_counted(store: Path, page: Page) -> None:
    open_live(page)
    expect(page.get_by_role("heading", name="No call so far")).to_be_visible()
    page.get_by_text("What a filter can say").click()
    call(store)
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    for text in ("Claude Code 2.1", "files", "read_file", "allow", "4 ms", "142 B", "8.1 KB"):
        expect(row).to_contain_text(text)
    expect(page.locator("details")).to_have_attribute("open", "")  # as the person left it
    open_live(page, 'srver:"<b>"')
    expect(page.get_by_role("alert")).to_contain_text("Did you mean `server`?")
    expect(page.get_by_role("searchbox")).to_have_value('srver:"<b>"')
    expect(row).to_have_count(0)
    stop(store, "AAAAAAAA.c1", SECRET)
    call(store, 300)
    open_live(page)
    expect(page.locator(".lede")).to_contain_text("Busy")
    expect(page.locator(".v.allow")).to_have_count(0)
    expect(page.locator(".v.block").first).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("^Everything 30"))).to_be_visible()
    page.get_by_role("link", name="verdict:allow").click()
    expect(page.locator(".v.allow")).to_have_count(100)
    page.get_by_role("link", name="Older").click()
    expect(page.locator(".v.allow")).to_have_count(100)


def test_a_row_opens_what_explain_says_and_draws_its_flow(store: Path, page: Page) -> None:
    fill(store)
    open_live(page, "verdict:block rule:secrets")
    page.locator("tbody tr .time a").click()
    opened = page.locator(".opened")
    expect(opened.get_by_role("heading", level=2)).to_have_text(
        "A secret was stopped on its way to send_note"
    )
    expect(opened.locator("td mark")).to_have_text("AKIA…")
    told = replies.words(SECRET, "AAAAAAAA.c1", executed=False)
    expect(opened.locator(".ours")).to_have_text(told)
    said = json.loads(CliRunner().invoke(explain, ["AAAAAAAA.c1", "--json"]).stdout)
    (finding,) = said["findings"]
    for text in (finding["why"], finding["fix"], *said["commands"]):
        expect(opened).to_contain_text(text)
    opened.get_by_role("link", name="decide on its card").click()
    expect(page.locator("article:target")).to_contain_text("send_note")
    with open_store(store) as granting:
        for event, why in (("BBBBBBBB.c1", "I asked for it"), ("BBBBBBBB.c12", "of another event")):
            make_grant(granting, CallGrant(MARK, event, "weather", "send_mail", why), "Kim")
    open_live(page, more="&open=BBBBBBBB.c1")
    drawing = page.get_by_role("list", name="The way of the text")
    expect(drawing).to_contain_text("read_mail")
    expect(drawing).to_contain_text("waits here")
    expect(page.locator(".opened")).to_contain_text("I asked for it")
    expect(page.locator(".opened")).not_to_contain_text("of another event")


def test_a_call_without_an_answer_waits_only_while_its_run_lives(store: Path, page: Page) -> None:
    recorder = Recorder(store, "files", "LIVELIVE", log=silent)
    for number, findings in enumerate([(), (FINDING._replace(rule="trust.held"),)]):
        recorder.record(verdict(f"LIVELIVE.c{number}", findings=findings))
    recorder.close()
    open_live(page)
    expect(page.get_by_text("no answer", exact=True)).to_be_visible()
    expect(page.locator("td .v:is(.held, .block)")).to_have_text("held")
    began, living = time.time() - 9, RunningProcesses().find_living
    with open_store(store) as opened:
        for guards in ([(began, "files")], [(began, "")], [(began, "x"), (began, "files")]):
            assert living(opened, guards) == {"LIVELIVE": "files"}
        assert living(opened, [(began, "x"), (time.time() + 9, "")]) == {}


def hostile_finding(finding: Finding) -> Finding:
    short = HOSTILE[:400]
    return finding._replace(
        excerpt=short, note=f"text that came back from {short!r} leaves", pointer=short
    )._replace(tool=short, arguments=short, differs=short, path=short, host=short)


def test_no_text_from_outside_leaves_its_box(store: Path, page: Page) -> None:
    rules = "flows.private-out", "injection.override", f"mine.{HOSTILE}", "egress.host"
    findings = tuple(hostile_finding(ORDER)._replace(rule=rule) for rule in rules)
    entry = AuditEntry(
        *(to_utc_text(time.time()), HOSTILE, "to-server", "request", HOSTILE, HOSTILE),
        *("block", "EVILEVIL.c1", "0" * 64, 99, findings_json(findings), HOSTILE),
    )
    with open_store(store) as opened:
        strange = entry._replace(kind=HOSTILE, action=HOSTILE, event=HOSTILE[:99])
        gap = strange._replace(kind="gap", action="warn", event="")
        Audit(opened, HOSTILE, HOSTILE, "").append_many([entry, strange, gap])
    base = "/".join(page.url.split("/")[:4])
    for path in ("/live?open=EVILEVIL.c1", "/event/EVILEVIL.c1", "/audit"):
        for width in (380, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            answer = page.goto(base + path)
            assert answer is not None
            assert answer.ok, path
            html = answer.text()
            assert not re.search("[\u200b\u202e\u2066]", html)
            assert "<script>boom" not in html
            assert "<b>'" not in html
            assert "W" * 600 not in html
            expect(page.locator("main .cp").first).to_be_visible()
            wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(wider) == 0, (path, width)


def test_a_sparkline_has_a_gap_where_nothing_is_known() -> None:
    drawn = sparkline([0, 4, None, 2, 2], 'calls "in" an hour')
    assert 'aria-label="calls &#34;in&#34; an hour"' in drawn
    assert re.findall('d="([^"]*)"', drawn) == [
        "M0.0 26.0L30.0 2.0M90.0 14.0L120.0 14.0",
        "M60.0 14.0h30.0",
    ]
