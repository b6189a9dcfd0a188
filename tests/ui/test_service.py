"""The page without a terminal of its own: as a service, in the gateway, and who may attach one."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import pipeguard
from pipeguard.cli._page_host import SOCKET, is_running
from pipeguard.launch.child import GUARD_NAME
from pipeguard.launch.person import TOKEN_VARIABLE, new_token
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.page_address import page_address
from pipeguard.state.store import open_store
from pipeguard.state.tokens import DECIDE, TokenScope, create_token, revoke_token
from tests.forking import PIPEGUARD
from tests.gateway.served import ServedAt, write_servers
from tests.launch.processes import until
from tests.people import be_nobody, run_on_terminal
from tests.ui.conftest import TIMEOUT_MS, PageTerminal
from tests.ui.samples import SERVER, fill
from tests.ui.test_door import ask
from tests.ui.test_waiting import press

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="who asks is read from /proc")
# A program of an agent that knows how `pipeguard ui` attaches a terminal. It passes on what is
# typed on that, which is the number, if one is asked for; then it shows what the page says to it.
STRANGER = """
import os, socket, sys
os.chdir({folder!r})
{before}
connection = socket.socket(socket.AF_UNIX)
connection.connect({name!r})
connection.settimeout(20)
import select
if 0 in select.select([0, connection], [], [])[0]:
    connection.sendall(os.read(0, 100))
    connection.shutdown(socket.SHUT_WR)
print("the page says:", connection.recv(4096).decode(), flush=True)
"""
BELOW_A_GUARD = f"""
open("/proc/self/comm", "w").write({GUARD_NAME!r})
if child := os.fork():
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
ANOTHER_TERMINAL = "import pty; os.dup2(pty.openpty()[1], 0)"
ANOTHER_USER = "os.setuid(65534)"


def run_stranger(folder: Path, before: str = "", **environment: str) -> str:
    """The terminal of a stranger, after it tried to be attached."""
    code = STRANGER.format(folder=str(folder), name=SOCKET, before=before)
    return run_on_terminal((sys.executable, "-c", code), "", "", None, environment)[1]


def open_page(browser: Browser, link: str) -> Page:
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto(link)
    return page


def unlock(page: Page, read_number: Callable[[], str]) -> None:
    page.get_by_role("button", name="Unlock for 15 min…").click()
    page.get_by_label("Number").fill(read_number())
    page.get_by_role("button", name="Unlock", exact=True).click()
    expect(page.get_by_role("button", name="Lock now")).to_be_visible()


@pytest.fixture
def service(store: Path) -> Iterator[Path]:
    """The page as a service runs it; the folder with its socket."""
    fill(store)
    words = [*PIPEGUARD, "ui", "--service", "run"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        until(is_running, "it runs")
        yield store.parent
        process.terminate()
        assert process.wait(30) == 0
    assert not (store.parent / SOCKET).exists()
    assert not is_running()


def test_a_page_of_a_removed_program_says_so(store: Path, tmp_path: Path) -> None:
    fill(store)
    package, copy = Path(pipeguard.__file__).parent, tmp_path / "program"
    for each in (package, package.with_name("rules")):
        shutil.copytree(each, copy / each.name)
    code = f"import sys; sys.path.insert(0, {str(copy)!r}); from pipeguard.cli import cli; cli()"
    words = [sys.executable, "-c", code, "ui", "--service", "run"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdin=quiet, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: bool(page_address()), "it runs")
            words = [*PIPEGUARD, "uninstall", "--yes"]
            subprocess.run(words, capture_output=True, check=True)
            shutil.rmtree(copy)
            status, text, _ = ask(f"{page_address()}/static/page.css")
            assert (status, "PipeGuard was removed or replaced" in text) == (503, True)
        finally:
            process.terminate()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_without_a_systemd_the_page_runs_in_a_terminal(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(store.parent))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    terminal = PageTerminal("ui", "--service", "install")
    assert terminal.wait() == 2
    for way in ("loginctl enable-linger", "run the page in a terminal:  pipeguard ui"):
        assert way in terminal.text


def test_only_a_person_s_terminal_is_attached(service: Path) -> None:
    assert (service / SOCKET).stat().st_mode & 0o777 == 0o600
    assert "/enter?key=" in run_stranger(service), "a stranger who is a person could be attached"
    refused = {
        "AI_AGENT is set": run_stranger(service, AI_AGENT="1"),
        "which guards servers": run_stranger(service, BELOW_A_GUARD),
        "no terminal": run_stranger(service, ANOTHER_TERMINAL),
    }
    if os.geteuid() == 0:
        service.chmod(0o711)
        (service / SOCKET).chmod(0o666)
        refused["another user's"] = run_stranger(service, ANOTHER_USER)
    for why, shown in refused.items():
        assert f"the page says: {why}" in shown or why in shown.partition("the page says: ")[2]
        assert "key=" not in shown
        assert not re.search(r"\d{4}", shown), "no number, either"
    code = STRANGER.format(folder=str(service), name=SOCKET, before="")
    shown = run_on_terminal((sys.executable, "-c", code), "", "", "0000", {})[1]
    assert "that is not the number" in shown
    assert "key=" not in shown


def test_no_terminal_is_attached_to_a_page_that_an_agent_started(store: Path) -> None:
    code = f"import os, sys\n{BELOW_A_GUARD}\nos.execv(sys.argv[1], sys.argv[1:])"
    words = [sys.executable, "-c", code, *PIPEGUARD, "ui", "--service", "run"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        until(is_running, "it runs")
        terminal = PageTerminal()
        assert (terminal.wait(), "an agent may have started it" in terminal.text) == (2, True)
        os.killpg(process.pid, signal.SIGTERM)


def test_a_person_decides_by_a_terminal_that_is_attached(service: Path, browser: Browser) -> None:
    terminal = PageTerminal()
    page = open_page(browser, terminal.attach())
    assert page_address() == page.url.rpartition("/")[0].rpartition("/")[0]
    press(page, terminal, "offers", "Approve…")
    expect(page.get_by_role("status")).to_contain_text("You approved")
    with open_store(service / "pipeguard.db") as store:
        (row, *_) = rows(store, AuditFilter(server=SERVER, action="approve"))
    assert re.search(r" at /dev/pts/\d+, on the page$", row.entry.client)
    assert terminal.end() == 0
    page.get_by_role("button", name="Unlock").click()
    expect(page.get_by_role("heading", name="Nothing was done")).to_be_visible()
    page.go_back()
    terminal = PageTerminal()
    terminal.attach()
    unlock(page, terminal.number)
    terminal.end()


# --- systemd ----------------------------------------------------------------------------------

MANAGER = """
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount -t cgroup2 none /sys/fs/cgroup &&
mkdir -p /run/systemd/system "$XDG_RUNTIME_DIR" && exec /usr/lib/systemd/systemd --user
"""


@pytest.fixture
def systemd(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Words before a command that run it with systemd as the manager of user services."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/of-a-test")
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(store.parent.with_name("state 50%")))
    words = ["unshare", "--mount", "sh", "-c", MANAGER]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        inside = ["nsenter", "--target", str(process.pid), "--mount"]
        status = [*inside, "systemctl", "--user", "is-system-running"]
        until(
            lambda: (
                process.poll() is not None
                or b"ing" in subprocess.run(status, capture_output=True, check=False).stdout
            ),
            "systemd runs, or cannot",
        )
        if process.poll() is not None:
            pytest.skip("nobody may start systemd here")
        yield inside
        process.terminate()


def test_systemd_runs_the_page_until_it_is_removed(systemd: list[str]) -> None:
    for _ in range(2):  # the second time, it is started anew
        terminal = PageTerminal("ui", "--service", "install", inside=systemd)
        assert terminal.wait() == 0, terminal.text
        assert "Open it:  pipeguard ui " in terminal.text
    terminal = PageTerminal(inside=systemd)
    assert "/enter?key=" in terminal.attach()
    terminal.end()
    terminal = PageTerminal("uninstall", "--yes", inside=systemd)
    assert terminal.wait() == 0
    assert "Service removed" in terminal.text
    assert not is_running()
    terminal = PageTerminal("ui", "--service", "remove", inside=systemd)
    assert (terminal.wait(), "does not run as a service" in terminal.text) == (0, True)


# --- in the gateway -----------------------------------------------------------------------------


def test_the_gateway_loads_the_page_when_it_is_opened(store: Path, browser: Browser) -> None:
    file = str(write_servers(store.parents[1], {}))
    terminal = PageTerminal("serve", "--config", file, "--listen", "127.0.0.1:0")
    link = terminal.link()
    maps = Path(f"/proc/{terminal.process}/maps")
    assert "markupsafe" not in maps.read_text(), "nothing of the page is loaded"
    page = open_page(browser, link)
    expect(page).to_have_title(re.compile("^Waiting"))
    assert "markupsafe" in maps.read_text()
    (cookie,) = page.context.cookies()
    assert cookie["path"].startswith("/ui/")
    unlock(page, terminal.number)
    here = link.partition("/enter")[0]
    page.goto(here)  # as a client that asks its user does
    expect(page).to_have_title(re.compile("^Waiting"))
    assert page_address() == here
    for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ask(here, headers)[0] == 403
    assert ask(f"{here}x")[0] == 404
    assert terminal.end() == 0, "it does not wait for the page that is open"
    assert not is_running()


def test_a_token_that_may_decide_gets_links_and_nothing_else(
    store: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, new_token()[0])
    words = [*PIPEGUARD, "tokens", "create", "ci", "--decide"]
    done = subprocess.run(words, capture_output=True, check=False, start_new_session=True)
    assert (done.returncode, b"no terminal to ask on" in done.stderr) == (2, True)
    be_nobody(monkeypatch)
    file = ("--config", str(write_servers(store.parents[1], {})))
    with open_store(store) as opened:
        token = create_token(opened, "browser", TokenScope(effect=DECIDE))
        with ServedAt(store.parents[1], *file) as gateway:
            at = gateway.url.removesuffix("/mcp")
            assert ask(f"{at}/tools")[0] == 200, "clients still need no token"
            client = create_token(opened, "client", TokenScope())
            for wrong in ({}, {"Authorization": f"Bearer {client}"}):
                assert ask(f"{at}/ui/link", wrong, "")[0] == 401
            bearer = {"Authorization": f"Bearer {token}"}
            for path in ("tools", "mcp"):
                status, why, *_ = ask(f"{at}/{path}", bearer)
                assert (status, "only opens the page" in why) == (403, True), path
            page = open_page(browser, ask(f"{at}/ui/link", bearer, "")[1].strip())
            expect(page).to_have_title(re.compile("^Waiting"))
            revoke_token(opened, "browser")
            page.reload()
            expect(page.get_by_role("heading", name="Open the page by its link")).to_be_visible()
        with ServedAt(store.parents[1], *file, "--listen", "0.0.0.0:0") as gateway:
            assert ask(f"http://127.0.0.1:{gateway.url.split(':')[-1][:-4]}/ui")[0] == 401
            assert "no page at /ui: other machines reach" in gateway.log.read_text()
            other = create_token(opened, "other", TokenScope(effect=DECIDE))
            link = f"http://127.0.0.1:{gateway.url.split(':')[-1][:-4]}/ui/link"
            status, why, *_ = ask(link, {"Authorization": f"Bearer {other}"}, "")
            assert (status, "only opens the page" in why) == (403, True)
