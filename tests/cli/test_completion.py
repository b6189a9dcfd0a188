"""`pipeguard completion`: tried by the shells themselves, with names that a server chose."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from click.shell_completion import ShellComplete

from pipeguard.auth.place import Place
from pipeguard.auth.store import LoginStore as Logins
from pipeguard.auth.store import Registration, Secrets, StoredLogin
from pipeguard.cli import cli
from pipeguard.isolation.learning.observed import Observed, save
from pipeguard.state.audit import Audit, AuditEntry
from pipeguard.state.store import Store
from tests.state.samples import held, seen

TIMEOUT_SECONDS = 60
PROGRAMS = Path(sys.executable).parent  # where pipeguard itself is
HOSTILE = (
    "$(touch owned)", "`touch owned`", "a;touch owned", "a b", "*", "a\nplain,owned", "a'b",
    'a"b', "\x1b[2J", "a|b", "a>owned", "~root", "{a,b}", "a\\b", "a!b", "a,b", "a:b",
)  # fmt: skip
EVENT = "K7Q2M9D4.c12"
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
READY = {
    "bash": 'eval "$(pipeguard completion bash)"',
    "zsh": 'eval "$(pipeguard completion zsh)"',
    "fish": "pipeguard completion fish | source",
}
installed = pytest.mark.parametrize(
    "shell",
    [pytest.param(name, marks=pytest.mark.needs(name)) for name in READY],
)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Somebody with a store, whose servers are not all honest, and a login."""
    state = tmp_path / "state"
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(state))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    state.mkdir(mode=0o700)
    with Store.open(state / "pipeguard.db") as store:
        store.remember("weather", [seen({"name": "known"}), held({"name": "get_forecast"})])
        store.remember("weather", [held({"name": name}) for name in HOSTILE])
        store.remember("files", [seen({"name": "read"})])
        for name in ("evil $(touch owned)", "-rf"):
            store.remember(name, [held({"name": "x"})])
        row = AuditEntry(
            "2026-03-02T10:00:00.000Z", "editor", "to-server", "request", "tools/call", "x",
            "block", EVENT, "0" * 64, 2, '[{"rule": "secrets.jwt"}]',
        )  # fmt: skip
        Audit(store, "RUN1", "weather", "").append_many([row])
    login = StoredLogin(
        server="https://mcp.example.com/mcp", name="notes", issuer="", place=Place.FILE, client={},
        registration=Registration.GIVEN, metadata=None, resource_metadata=None, scope="",
        wanted="", obtained_at=0.0, expires_at=None,
    )  # fmt: skip
    Logins().save(login, Secrets("t"))
    save("evil $(touch owned)", Observed())
    save("by-hand", Observed())
    save("learned-one", Observed())
    wrapped = {"command": "pipeguard", "args": ["wrap", "--name", "notes-server", "--", "srv"]}
    (tmp_path / ".gemini").mkdir()
    servers = {"mcpServers": {"notes-server": wrapped}}
    (tmp_path / ".gemini" / "settings.json").write_text(json.dumps(servers))
    (state / "secrets").mkdir(mode=0o700)
    (state / "secrets" / "a.name").write_text("DEPLOY_KEY")  # as `secrets set` leaves it
    return {
        **{name: value for name, value in os.environ.items() if "COVERAGE" not in name},
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "TERM": "dumb",
        "PS1": "",
    }


def offered(words: str) -> list[str]:
    """What is offered for the last word of a command line; an empty one if it ends in a space."""
    *before, last = words.split(" ")
    found = ShellComplete(cli, {}, "pipeguard", "_PIPEGUARD_COMPLETE").get_completions(before, last)
    return [item.value if item.type == "plain" else item.type for item in found]


@dataclass
class Shell:
    """A shell on a terminal, to type on."""

    terminal: int
    seen: str = ""

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def wait_for(self, pattern: str) -> str:
        """Read until something is shown; give its first group."""
        deadline = monotonic() + TIMEOUT_SECONDS
        while (found := re.search(pattern, self.seen)) is None:
            left = deadline - monotonic()
            ready, _, _ = select.select([self.terminal], [], [], max(left, 0))
            assert ready, self.seen
            self.seen += os.read(self.terminal, 65536).decode("utf-8", "replace")
        self.seen = self.seen[found.end() :]
        return found[1]

    def completed(self, words: str) -> str:
        """What is on the line once Tab was pressed behind some words."""
        # Then a word behind it, and one before it: so it is shown, and not run.
        self.type(f"{words}\t\x05 end\x01printf '<%s>' {len(words)} \r")
        return re.sub(r"><", " ", self.wait_for(rf"<{len(words)}><(pipeguard[^\r\n]*)><end>"))


@contextmanager
def shell_on_a_terminal(name: str, environment: dict[str, str]) -> Iterator[Shell]:
    import pty

    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(START[name][0], START[name], environment)  # noqa: S606  a shell is what is tried
    try:
        shell = Shell(terminal)
        shell.type(f"{READY[name]}; printf '<%s>' ready\r")
        shell.wait_for("(<ready>)")
        yield shell
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)


@installed
@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of this kind there")
def test_a_shell_completes_what_is_typed(
    shell: str, environment: dict[str, str], tmp_path: Path
) -> None:
    wanted = {
        "pipeguard doc": "pipeguard doctor",
        "pipeguard doctor --js": "pipeguard doctor --json",
        "pipeguard diff weather/get_f": "pipeguard diff weather/get_forecast",
        "pipeguard allow K7": f"pipeguard allow {EVENT}",
        "pipeguard rules show secrets.aws-access-k": "pipeguard rules show "
        "secrets.aws-access-key-id",
        "pipeguard auth logout no": "pipeguard auth logout notes",
        "pipeguard wrap --policy rep": "pipeguard wrap --policy report.yaml",
        "pipeguard diff we": "pipeguard diff weather",
        "pipeguard isolate show by": "pipeguard isolate show by-hand",
        "pipeguard isolate accept le": "pipeguard isolate accept learned-one",
    }
    (tmp_path / "report.yaml").touch()
    with shell_on_a_terminal(shell, environment) as typed:
        assert {words: " ".join(typed.completed(words).split()) for words in wanted} == wanted
    assert not (tmp_path / "owned").exists()


@installed
def test_a_shell_takes_the_script(shell: str, environment: dict[str, str]) -> None:
    option = ["--no-execute"] if shell == "fish" else ["-n"]
    script = subprocess.run(
        [PROGRAMS / "pipeguard", "completion", shell],
        env=environment, capture_output=True, check=True,
    )  # fmt: skip
    done = subprocess.run([shell, *option], input=script.stdout, capture_output=True, check=True)
    assert done.stderr == b""
    assert b"/" + str(PROGRAMS).encode() not in script.stdout  # no path of this machine


def test_powershell_gets_what_its_script_reads(environment: dict[str, str]) -> None:
    asked = {"_PIPEGUARD_COMPLETE": "powershell_complete", "COMP_CWORD": "2"}
    done = subprocess.run(
        [PROGRAMS / "pipeguard"],
        env={**environment, **asked, "COMP_WORDS": "pipeguard diff weather/get_f"},
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[:2] == ["plain", "weather/get_forecast"]
    script = subprocess.run(
        [PROGRAMS / "pipeguard", "completion", "powershell"],
        env=environment, capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert script.stdout.startswith("Register-ArgumentCompleter -Native -CommandName pipeguard")


@pytest.mark.needs("fish")
def test_fish_lists_what_there_is(environment: dict[str, str], tmp_path: Path) -> None:
    lines = f"{READY['fish']}; complete -C 'pipeguard diff weather/'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", lines],
        env=environment, capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [
        "weather/get_forecast"
    ]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "wrap"),
        ("diff ", "weather"),
        ("approve weather/", "weather/get_forecast"),
        ("forget weather/", "weather/known"),
        ("forget ", "files"),
        ("audit list --server f", "files"),
        ("audit list --rule secrets.j", "secrets.jwt"),
        ("audit show ", EVENT),
        ("allow ", EVENT),
        ("explain ", EVENT),
        ("explain ", "injection.classifier"),
        ("explain secrets.jw", "secrets.jwt"),
        ("explain K", EVENT),
        ("rules list --pack ", "poisoning"),
        ("rules test --rule ", "secrets.jwt"),
        ("scan --server ", "weather"),
        ("auth login ", "notes"),
        ("secrets get DEPLOY", "DEPLOY_KEY"),
        ("setup cur", "cursor"),
        ("doctor st", "store"),
        ("completion ", "fish"),
        ("wrap --trust ", "review"),
        ("wrap --transport s", "sse"),
        ("wrap --log-level ", "debug"),
        ("wrap --log-format ", "json"),
        ("wrap --name ", "weather"),
        ("wrap --cwd ", "dir"),
        ("wrap --tls-cert ", "file"),
        ("wrap -- ", "file"),
        ("wrap --read ", "file"),
        ("wrap --roots ", "write"),
        ("wrap --isolate ", "learn"),
        ("isolate show b", "by-hand"),
        ("isolate show n", "notes-server"),
        ("isolate show le", "learned-one"),
        ("isolate accept ", "learned-one"),
        ("isolate forget ", "by-hand"),
        ("isolate forget ", "learned-one"),
    ],
)
def test_an_argument_is_offered_what_there_is(words: str, expected: str) -> None:
    assert expected in offered(words)


@pytest.mark.usefixtures("environment")
def test_what_nothing_was_learned_of_is_not_offered_to_accept() -> None:
    assert offered("isolate accept ") == ["by-hand", "learned-one"]
    assert not any("$" in name for name in offered("isolate show "))


@pytest.mark.usefixtures("environment")
def test_what_does_not_wait_is_offered_to_forget_alone() -> None:
    assert offered("approve weather/") == ["weather/get_forecast"]
    assert "files" not in offered("approve ")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("verb", ["diff", "approve", "reject", "forget"])
def test_no_name_is_offered_that_a_shell_could_misread(verb: str) -> None:
    names = {*offered(f"{verb} "), *offered(f"{verb} weather/"), *offered(f"{verb} evil")}
    assert names <= {"weather", "files", "weather/get_forecast", "weather/known"}


@pytest.mark.usefixtures("environment")
def test_servers_of_a_client_s_files_are_offered(tmp_path: Path) -> None:
    (tmp_path / ".cursor").mkdir()
    servers = '{"mcpServers": {"notes": {"command": "a"}, "$(touch owned)": {"command": "b"}}}'
    (tmp_path / ".cursor" / "mcp.json").write_text(servers)
    assert offered("setup cursor --server ") == ["notes"]
    assert offered("setup vscode --server ") == []


def test_where_there_is_nothing_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    assert offered("diff ") == offered("allow ") == []
    assert not (tmp_path / "state").exists()


def test_what_cannot_be_read_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path))
    (tmp_path / "pipeguard.db").write_text("no database, " * 99)
    (tmp_path / "auth").mkdir()
    (tmp_path / "auth" / "a.json").write_text("{")
    typed = ("diff ", "audit list --server ", "allow ", "explain K", "auth login ")
    assert {words: offered(words) for words in typed} == {words: [] for words in typed}


@pytest.mark.usefixtures("environment")
def test_a_row_that_somebody_else_wrote_disturbs_nobody(tmp_path: Path) -> None:
    assert EVENT in offered("allow ")
    with Store.open(tmp_path / "state" / "pipeguard.db") as store:
        store.connection.execute("UPDATE audit SET findings = 'not JSON'")
    typed = ("allow ", "audit show ", "explain K")
    assert {words: offered(words) for words in typed} == {words: [] for words in typed}
