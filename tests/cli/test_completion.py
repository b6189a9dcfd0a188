"""`pipeguard completion`: tried by the shells themselves."""

import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from click.shell_completion import ShellComplete

from pipeguard.cli import cli
from pipeguard.errors import RuleError
from tests.commands import run_command

TIMEOUT_SECONDS = 60
PROGRAMS = Path(sys.executable).parent  # where pipeguard itself is
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
    "shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in READY]
)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {
        **{name: value for name, value in os.environ.items() if "COVERAGE" not in name},
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "TERM": "dumb",
        "PS1": "",
    }


def offered(words: str) -> list[str]:
    """Complete the last word of a command line; an empty word if it ends in a space."""
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
        """Read until a pattern matches; return its first group."""
        deadline = monotonic() + TIMEOUT_SECONDS
        while (found := re.search(pattern, self.seen)) is None:
            left = deadline - monotonic()
            ready, _, _ = select.select([self.terminal], [], [], max(left, 0))
            assert ready, self.seen
            self.seen += os.read(self.terminal, 65536).decode("utf-8", "replace")
        self.seen = self.seen[found.end() :]
        return found[1]

    def completed(self, words: str) -> str:
        """Return the line after pressing Tab behind some words."""
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
        "pipeguard rules show secrets.aws-access-k": "pipeguard rules show "
        "secrets.aws-access-key-id",
        "pipeguard wrap --policy rep": "pipeguard wrap --policy report.yaml",
        "pipeguard setup curs": "pipeguard setup cursor",
    }
    (tmp_path / "report.yaml").touch()
    with shell_on_a_terminal(shell, environment) as typed:
        assert {words: " ".join(typed.completed(words).split()) for words in wanted} == wanted


def test_powershell_gets_what_its_script_reads(environment: dict[str, str]) -> None:
    asked = {"_PIPEGUARD_COMPLETE": "powershell_complete", "COMP_CWORD": "3"}
    done = run_command(
        [PROGRAMS / "pipeguard"],
        env={**environment, **asked, "COMP_WORDS": "pipeguard rules show secrets.aws-access-k"},
        check=True,
    )
    assert done.stdout.splitlines()[:2] == ["plain", "secrets.aws-access-key-id"]
    script = run_command(
        [PROGRAMS / "pipeguard", "completion", "powershell"], env=environment, check=True
    )
    assert script.stdout.startswith("Register-ArgumentCompleter -Native -CommandName pipeguard")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "wrap"),
        ("audit list --rule secrets.j", "secrets.jwt"),
        ("explain ", "injection.classifier"),
        ("rules list --pack ", "poisoning"),
        ("setup cur", "cursor"),
        ("wrap --cwd ", "dir"),
        ("wrap -- ", "file"),
    ],
)
def test_an_argument_is_offered_what_there_is(words: str, expected: str) -> None:
    assert expected in offered(words)


def test_rules_that_cannot_be_read_disturb_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuleError("broken")

    monkeypatch.setattr("pipeguard.rulebook.packs.load_rules", fail)
    assert offered("explain ") == offered("rules list --pack ") == []
