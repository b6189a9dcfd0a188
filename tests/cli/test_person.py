"""The one who decides: a person at a terminal, a job with a token, but no agent."""

import ctypes
import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pipeguard import Finding, PipeGuardError
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.gateway.discovery import usual_file
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation.learning.observed import Observed, save
from pipeguard.launch.agents import AGENT_VARIABLES
from pipeguard.launch.child import GUARD_NAME
from pipeguard.launch.person import TOKEN_VARIABLE, Person, new_token, token_path
from pipeguard.state import review
from pipeguard.state.proposals import propose
from pipeguard.state.store import open_store
from pipeguard.state.tokens import TokenScope, create_token
from tests.launch.processes import until
from tests.people import ROOT, all_on_terminal, be_nobody, on_terminal, run_here, share
from tests.state.samples import audit_entry, held, record

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
PIPEGUARD = (sys.executable, "-E", "-P", "-m", "pipeguard")
TARGET = "weather/get_forecast"


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pending tool, and no token."""
    be_nobody(monkeypatch)
    with open_store() as opened:
        opened.remember("weather", [held()])
        opened.name_server("weather", identify_server(["npx", "mcp-weather"]))


def waits() -> bool:
    with open_store() as opened:
        return len(review.held_definitions(opened)) == 1


def piped(*words: str, typed: bytes = b"", token: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run it like an agent's shell, without a terminal."""
    return subprocess.run(
        [*PIPEGUARD, *words],
        input=typed,
        env={**os.environ, TOKEN_VARIABLE: token},
        capture_output=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )


@pytest.mark.often("forget weather --launch")
@pytest.mark.parametrize("words", [("approve", TARGET), ("reject", TARGET), ("forget", TARGET),
                                   ("forget", "weather", "--launch")], ids=" ".join)  # fmt: skip
def test_without_a_terminal_nothing_is_decided(words: tuple[str, ...]) -> None:
    done = piped(*words, "--yes", typed=b"y\n" * 50)
    assert done.returncode == 2
    assert b"no terminal to ask on" in done.stderr
    assert b"a terminal of your own" in done.stderr
    assert waits()


def test_a_person_types_the_number() -> None:
    code, shown = on_terminal("approve", "", TARGET, "--yes")
    assert (code, f"To approve {TARGET}, type " in shown) == (0, True)
    assert not waits()


def test_another_number_decides_nothing() -> None:
    code, shown = on_terminal("approve", "", TARGET, "--yes", number="0000")
    assert code == 1
    assert "not the number" in shown
    assert waits()


def test_an_agents_shell_is_no_persons_even_with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown = on_terminal("approve", "y", TARGET, environment={AGENT_VARIABLES[0]: "1"})
    assert (code, f"{AGENT_VARIABLES[0]} is set" in shown, waits()) == (2, True, True)
    monkeypatch.setenv(TOKEN_VARIABLE, new_token()[0])
    for name in AGENT_VARIABLES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, "1")
            with pytest.raises(PipeGuardError, match=f"{name} is set"):
                Person.here()


# --- below a guard, and below its client ---------------------------------------------------------

# Every command that decides, in an order in which each has something to decide.
DECISIONS = (
    *(("approve", TARGET, "--yes"), ("reject", "weather/b", "--yes"), ("forget", TARGET, "--yes")),
    ("forget", "docs", "--launch", "--yes"),
    *(("allow", "stopped", "--why", "x"), ("allow", "walled")),
    *(("servers", "approve", "a"), ("servers", "reject", "b")),
    ("isolate", "accept", "files"),
    *(("tokens", "create", "t"), ("tokens", "rotate", "old"), ("tokens", "reset")),
    ("policy", "ci-token"),
)
# Every command that guards. SERVER returns what it reads; nobody answers at ADDRESS.
SERVER, ADDRESS, LISTEN = ("--", "cat"), "http://127.0.0.1:9/mcp", ("--listen", "127.0.0.1:0")
GUARDS = {
    "wrap": ("wrap", *SERVER),
    "wrap of an address": ("wrap", "--upstream", ADDRESS),
    "serve": ("serve",),
    "wrap that listens": ("wrap", *LISTEN, *SERVER),
    "wrap of an address that listens": ("wrap", *LISTEN, "--upstream", ADDRESS),
    "serve that listens": ("serve", *LISTEN),
}
# A launch line in which other programs read the client's messages first.
LOGGED = ("sh", "-c", 'tee /dev/null | (tee /dev/null | "$@"); exit', "sh")
LISTENERS = [name for name, words in GUARDS.items() if "--listen" in words]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="who started whom is read from /proc")


@pytest.fixture
def undecided() -> None:
    """Make something to decide for each command, and a server for `serve`."""
    stopped = Finding("secrets.github-token", "call.arguments", tool="search")
    walled = Finding("egress.host", "connection", excerpt="api.example:443", host="api.example")
    with open_store() as opened:
        opened.remember("weather", [held({"name": "b", "description": "Two."})])
        opened.name_server("docs", identify_server(("cat",), None))
        create_token(opened, "old", TokenScope(), None, "somebody")
        for name in "ab":
            propose(opened, name, json.dumps({"command": "cat"}), "ci", "It helps.")
    record("docs", audit_entry("stopped", stopped), audit_entry("walled", walled))
    save("files", Observed(hosts=["api.example"]))
    for file, text in {
        usual_file(): "servers: {one: {command: cat}}\n",
        usual_policy_path(): "isolate:\n- {server: other, hosts: [api.example]}\n",
    }.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text)
        Path(file).chmod(0o600)


@contextmanager
def guard(
    *words: str, stdin: int = subprocess.DEVNULL, launcher: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a guard; its standard error is its greeting."""
    process = subprocess.Popen(
        [*launcher, *PIPEGUARD, *words],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        until(
            lambda: process.poll() is not None or GUARD_NAME in names_of(process.pid), "it guards"
        )
        assert process.poll() is None
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)


def names_of(session: int) -> set[str]:
    """Return the names of the processes of a session (proc(5): the sixth field)."""
    names = set()
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            _, _, rest = (folder / "stat").read_text().partition("(")
            name, _, fields = rest.rpartition(") ")
            if fields.split()[3:4] == [str(session)]:
                names.add(name)
    return names


@contextmanager
def connected(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Connect this process to a guard that listens."""
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(rb"listening on http://127\.0\.0\.1:(\d+)/", line)
        if found is not None:
            with socket.create_connection(("127.0.0.1", int(found[1])), 60) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert connection.recv(1) == b"H", "it is accepted"
                yield
            return
    pytest.fail("it does not listen")


def assert_nothing_is_decided(decisions: Sequence[Sequence[str]] = DECISIONS[:1]) -> None:
    codes, shown = all_on_terminal(decisions)
    assert codes == [2] * len(decisions), shown
    assert shown.count("which guards servers or is their client") == len(decisions), shown


@pytest.mark.often("pipe-serve", "socket below a shell-wrap of an address")
@ON_LINUX
@pytest.mark.parametrize("name", [name for name in GUARDS if name not in LISTENERS])
@pytest.mark.parametrize("stdin", ["pipe", "socket", "socket below a shell"])
@pytest.mark.usefixtures("undecided")
def test_who_started_a_guard_is_an_agent(name: str, stdin: str) -> None:
    """Without its mark, and with a terminal of its own."""
    ours, given = socket.socketpair()
    launcher = ("sh", "-c", '"$@"; exit', "sh") if "shell" in stdin else ()
    with ours, given:
        end = subprocess.PIPE if stdin == "pipe" else given.fileno()
        with guard(*GUARDS[name], stdin=end, launcher=launcher):
            given.close()
            assert_nothing_is_decided(DECISIONS if stdin == "pipe" else DECISIONS[:1])


@pytest.mark.often("socket-programs", "named pipe-no program")
@ON_LINUX
@pytest.mark.parametrize("launcher", [(), LOGGED], ids=["no program", "programs"])
@pytest.mark.parametrize("stdin", ["pipe", "named pipe", "socket"])
def test_who_feeds_a_guard_is_an_agent(
    stdin: str, launcher: tuple[str, ...], tmp_path: Path
) -> None:
    """With other programs between them, too, and through a pipe with a name."""
    fifo = tmp_path / "requests"
    os.mkfifo(fifo)
    ours, given = socket.socketpair()
    named = os.open(fifo, os.O_RDWR)
    ends = {"pipe": subprocess.PIPE, "named pipe": named, "socket": given.fileno()}
    with ours, given, guard(*GUARDS["wrap"], stdin=ends[stdin], launcher=launcher):
        assert on_terminal("approve", "y", TARGET)[0] == 2
    os.close(named)
    assert waits()


@ON_LINUX
def test_neither_another_state_folder_nor_a_token_hides_a_guard(tmp_path: Path) -> None:
    token, path = new_token()
    before = path.read_text()
    environment = {"PIPEGUARD_STATE_DIR": str(tmp_path / "other")}
    with guard(*GUARDS["wrap"], stdin=subprocess.PIPE):
        code, shown = on_terminal("policy", "", "ci-token", environment=environment)
        done = piped("approve", TARGET, "--yes", token=token)
    assert (code, path.read_text() == before) == (2, True), shown
    assert (done.returncode, b"is their client" in done.stderr, waits()) == (2, True, True)


@pytest.mark.often("wrap that listens")
@ON_LINUX
@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.usefixtures("undecided")
def test_who_is_connected_to_a_guard_is_an_agent(name: str) -> None:
    with guard(*GUARDS[name]) as process, connected(process):
        assert_nothing_is_decided()


@ON_LINUX
def test_a_shell_of_ssh_that_forwards_a_port_to_a_guard_is_a_person_s() -> None:
    """The connection is held by sshd, which started the shell."""
    own_name = Path("/proc/self/comm")
    before = own_name.read_text()
    with guard(*GUARDS["wrap that listens"]) as process, connected(process):
        own_name.write_text("sshd")
        try:
            assert on_terminal("approve", "y", TARGET)[0] == 0
        finally:
            own_name.write_text(before)
    assert not waits()


@ON_LINUX
def test_a_guard_that_has_ended_has_no_client() -> None:
    """Its exit status has not been collected; the starter of the shell started it."""
    named = f"open('/proc/self/comm', 'w').write({GUARD_NAME!r})"
    with subprocess.Popen([sys.executable, "-c", named]) as ended:
        state, zombie = Path(f"/proc/{ended.pid}/stat"), f"({GUARD_NAME}) Z "
        until(lambda: zombie in state.read_text(), "it has ended")
        assert on_terminal("approve", "y", TARGET)[0] == 0
    assert not waits()


@ON_LINUX
def test_an_orphan_s_adopter_is_no_client() -> None:
    """The first process of many containers adopts; the guard reads from a socket, as of Node."""
    named = f"open('/proc/self/comm', 'w').write({GUARD_NAME!r}); import time; time.sleep(60)"
    orphan_s = f"[sys.executable, '-c', {named!r}], stdin=socket.socketpair()[0], stdout=-3"
    starts = f"import socket, subprocess, sys; print(subprocess.Popen({orphan_s}).pid)"
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    orphan = int(subprocess.check_output([sys.executable, "-c", starts]))
    try:
        until(lambda: GUARD_NAME in Path(f"/proc/{orphan}/comm").read_text(), "it has its name")
        assert f") S {os.getpid()} " in Path(f"/proc/{orphan}/stat").read_text()
        assert on_terminal("approve", "y", TARGET)[0] == 0
    finally:
        os.kill(orphan, signal.SIGKILL)
        os.waitpid(orphan, 0)
        prctl(PR_SET_CHILD_SUBREAPER, 0)
    assert not waits()


@pytest.mark.often("wrap", "serve that listens")
@ON_LINUX
@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.usefixtures("undecided")
def test_a_person_decides_beside_a_guard_that_is_another_s(name: str) -> None:
    """One typed at a terminal, or one that a supervisor starts and clients connect to."""
    listens = name in LISTENERS
    decisions = DECISIONS if listens else DECISIONS[:1]
    primary, secondary = pty.openpty()
    with guard(*GUARDS[name], stdin=subprocess.PIPE if listens else secondary):
        codes, shown = all_on_terminal(decisions)
    os.close(primary)
    os.close(secondary)
    assert codes == [0] * len(decisions), shown


@ON_LINUX
def test_a_server_below_a_guard_decides_nothing(tmp_path: Path) -> None:
    primary, secondary = pty.openpty()
    outcome, variables = tmp_path / "outcome", dict(os.environ)
    code = (
        "import os; from pathlib import Path\n"
        f"os.chdir({str(ROOT)!r}); os.environ.update({variables!r})\n"
        "from tests.people import on_terminal\n"
        f"code, shown = on_terminal('approve', '', {TARGET!r})\n"
        f"Path({str(outcome)!r}).write_text(shown)\n"
    )
    with guard("wrap", "--", sys.executable, "-c", code, stdin=secondary):
        until(lambda: outcome.exists() and outcome.read_text() != "", "it tried")
    os.close(primary)
    os.close(secondary)
    assert f"this runs below {GUARD_NAME}" in outcome.read_text()
    assert waits()


@ON_LINUX
def test_a_shell_of_an_editor_is_a_person_s() -> None:
    """The editor feeds the program that starts its servers, and starts this shell as well."""
    host = "import subprocess, sys; subprocess.run(sys.argv[1:], stdin=subprocess.PIPE)"
    launcher = (sys.executable, "-c", host, *LOGGED)
    with guard(*GUARDS["wrap"], stdin=subprocess.PIPE, launcher=launcher):
        assert on_terminal("approve", "y", TARGET)[0] == 0


@ON_LINUX
def test_a_shell_that_feeds_a_guard_from_another_program_is_a_person_s() -> None:
    """The shell runs `program | pipeguard wrap -- server &`."""
    read, write = os.pipe()
    feeder = subprocess.Popen(["sleep", "600"], stdout=write)
    try:
        os.close(write)
        with guard(*GUARDS["wrap"], stdin=read):
            os.close(read)
            assert on_terminal("approve", "y", TARGET)[0] == 0
    finally:
        feeder.kill()
        feeder.wait(60)
    assert not waits()


@pytest.mark.parametrize("kept", ["none", "another", "group"])
def test_another_token_or_a_file_of_others_decides_nothing(
    kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, path = new_token()
    if kept == "none":
        path.unlink()
    elif kept == "another":
        new_token()
    else:
        share(path)
        path.chmod(0o660)
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(PipeGuardError, match=re.escape(str(path))) as refused:
        Person.here()
    assert token not in refused.value.for_user()


def test_a_token_is_made_by_a_person_alone_and_a_job_with_it_decides() -> None:
    token, path = new_token()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    assert token not in before
    refused = piped("policy", "ci-token", token=token)
    assert refused.returncode == 2
    assert b"ci-token" not in refused.stderr  # what fails is not advised to itself
    assert path.read_text() == before
    code, shown = on_terminal("policy", "", "ci-token")
    assert code == 0
    assert path.read_text() != before
    done = piped("approve", TARGET, "--yes", token=shown.split()[-1])
    assert (done.returncode, waits()) == (0, False), done.stderr
    assert run_here("policy", "ci-token", "--revoke").returncode == 0
    assert not token_path().exists()
