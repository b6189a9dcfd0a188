"""The entry point: which way an argument goes, and how errors end it. __main__.py."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard import __main__ as main
from pipeguard import _isolate
from pipeguard.config.options import WrapOptions
from pipeguard.errors import EngineError, LaunchError, PipeGuardError, PolicyError, StateError
from pipeguard.rulebook.compiled_file import make_folder
from pipeguard.runtime import start
from pipeguard.runtime.progress import COMPILING
from tests.forking import PIPEGUARD
from tests.launch.processes import until
from tests.wrap.wrapped import Wrapped

WRAP = ["wrap", "--name", "x", "--", "server"]


def ends(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def run(options: WrapOptions) -> int:
        raise error

    monkeypatch.setattr(start, "run", run)
    return main._run(WRAP)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PipeGuardError("what and why"), 1),
        (PolicyError("what and why"), 2),
        (EngineError("what and why"), 3),
        (StateError("what and why"), 4),
        (LaunchError("what and why"), 126),
        (LaunchError("what and why", 127), 127),
    ],
)
def test_an_error_is_told_in_its_words_with_its_code(
    error: PipeGuardError,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert ends(monkeypatch, error) == code
    assert capfd.readouterr() == ("", "pipeguard: what and why\n")


def test_a_fault_of_our_own_is_told_by_its_place_and_not_by_its_text(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ends(monkeypatch, KeyError("a secret that it was about")) == 1
    told = capfd.readouterr().err
    assert told.startswith("pipeguard: internal error: KeyError in run (")
    assert "test_main.py:" in told
    assert "secret" not in told


def test_a_module_that_is_missing_during_an_update_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ends(monkeypatch, ModuleNotFoundError("no module", name="click")) == 1
    assert "the module click could not be loaded: PipeGuard was updated" in capfd.readouterr().err


def test_an_interrupt_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ends(monkeypatch, KeyboardInterrupt()) == 130
    assert capfd.readouterr().err == "pipeguard: aborted\n"


def test_an_interrupt_while_one_is_told_is_no_fault_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "run", interrupted)
    monkeypatch.setattr(main, "_tell", interrupted)
    monkeypatch.setattr(_isolate, "ensure", lambda: None)
    monkeypatch.setattr(sys, "argv", ["pipeguard", *WRAP])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130


LOST = """
class Lost:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        [None for _ in range(9)]
Lost()
"""


def test_an_interrupt_ends_a_start_also_where_python_loses_it(tmp_path: Path) -> None:
    code = f"""
import signal
from pipeguard import __main__, _isolate
from pipeguard.runtime import start
from pipeguard.runtime.progress import COMPILING

def run(_):
{textwrap.indent(LOST, "    ")}
    return 0

start.run, _isolate.ensure = run, int
__main__.main()
"""
    (tmp_path / "program.py").write_text(code)
    argv = [sys.executable, "-m", "program", *WRAP]
    assert subprocess.run(argv, cwd=tmp_path, check=False, timeout=60).returncode == 130


def test_the_code_of_a_server_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "run", lambda options: 42)
    assert main._run(WRAP) == 42


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--version"], 0, "pipeguard"),
        (["no-such-verb"], 2, "no such command"),
        (["wrap"], 2, "give the server's command after --"),
    ],
)
def test_the_rest_is_for_the_full_parser(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [*PIPEGUARD, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == code
    assert words in done.stdout + done.stderr


@pytest.fixture
def compiling(tmp_path: Path) -> Iterator[Path]:
    """A cache whose rules another process seems to compile."""
    cache = tmp_path / "cache"
    make_folder(str(cache))
    hold = (
        f"import fcntl, os, sys; fcntl.flock(os.open({str(cache)!r}, os.O_RDONLY), fcntl.LOCK_EX);"
        " print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield cache


@pytest.mark.usefixtures("started")
@pytest.mark.often(f"{signal.SIGINT!r}", f"{signal.SIGINT.value}")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_it_waits_for_its_rules_leaves_nothing(
    number: signal.Signals, tmp_path: Path, compiling: Path
) -> None:
    with Wrapped(tmp_path, environment={"PIPEGUARD_CACHE_DIR": str(compiling)}) as wrapped:
        until(lambda: "compiling the rules" in wrapped.said(), "it waits for its rules")
        wrapped.kill(number)
        assert wrapped.code() in (128 + number, -number)
        wrapped.none_is_left()


@pytest.mark.usefixtures("started")
def test_the_server_runs_while_the_rules_are_being_waited_for(
    tmp_path: Path, compiling: Path
) -> None:
    started = tmp_path / "started"
    touch = f"open({str(started)!r}, 'w').close(); import sys; sys.stdin.read()"
    command = [sys.executable, "-I", "-c", touch]
    environment = {"PIPEGUARD_CACHE_DIR": str(compiling)}
    with Wrapped(tmp_path, command=command, environment=environment) as wrapped:
        until(started.exists, "the server runs")
        waits = f"pipeguard: {COMPILING}\n"
        until(lambda: wrapped.said() == waits, "it is told why nothing else happens")
