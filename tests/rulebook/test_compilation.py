"""Compiling: one process at a time, which neither ends with its client nor delays others."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

import pytest

from pipeguard.rulebook.cache import load_engines
from tests.commands import run_command
from tests.launch.processes import is_running, until
from tests.rulebook.words import file_of, finds, packs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks and signals of POSIX")

# The compiler as a program, with simple signs. It notes its id; if there is a FIFO, it waits at it.
COMPILER = """
import os
from pathlib import Path
from pipeguard.detect.scanning import engine
from pipeguard.rulebook import compiler, compiler_process

folder = Path({folder!r})
engine.SIGNS = {{name: f"[~][!] no sign {{name}}" for name in engine.SIGNS}}
engine.SIGNS_TO_SERVER = {{name: f"[~][!] no sign {{name}}" for name in engine.SIGNS_TO_SERVER}}
engine.SQUEEZED_SIGNS = {{name: f"[~][!] no sign {{name}}" for name in engine.SQUEEZED_SIGNS}}
compile_rules = compiler.compile_rules

def held_up(*arguments):
    with open(folder / "compilers", "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    if (folder / "gate").exists():
        (folder / "gate").read_bytes()
    return compile_rules(*arguments)

compiler.compile_rules = held_up
compiler_process.main()
"""
# A start of PipeGuard that has its rules compiled by the program above. Its files do not grow
# beyond a limit: like a full disk, it shows when something is written.
START = """
import resource
import sys
from pathlib import Path
from pipeguard import _isolate
from pipeguard.rulebook import compilation
from pipeguard.rulebook.cache import load_engines
from pipeguard.rulebook.packs import PackFile

folder, compiler, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
compilation.STUCK_SECONDS = float(sys.argv[4])
if compiler:
    _isolate.command = lambda module: [sys.executable, "-E", "-P", "-c", compiler]
else:
    compilation.compile_rules = None  # so that the real one, in its process, has to do it
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
pack = PackFile("mine.yaml", (folder / "mine.yaml").read_bytes(), shipped=False)
engines = load_engines([pack], str(folder / "cache"))
assert engines.to_server.rules
engines.to_server.load()
"""

PYTHON = (sys.executable, "-E", "-P", "-c")


class Starts:
    """Starts of PipeGuard with one cache, and the compilers that they started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        (folder / "mine.yaml").write_bytes(packs()[0].content)
        self._gate = folder / "gate"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *, limit_bytes: int = 0, stuck_seconds: float = 60.0) -> subprocess.Popen[str]:
        """Start one, in a process group of its own."""
        compiler = COMPILER.format(folder=str(self.folder))
        process = subprocess.Popen(
            [*PYTHON, START, str(self.folder), compiler, str(limit_bytes), str(stuck_seconds)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def close_gate(self) -> None:
        """Let every compiler wait once it has begun."""
        os.mkfifo(self._gate)

    def open_gate(self) -> None:
        """Let them continue."""
        gate = os.open(self._gate, os.O_RDWR | os.O_NONBLOCK)  # so that it can be opened to read
        self._gate.unlink()
        os.close(gate)

    def compilers(self) -> list[int]:
        """The ids of all compilers so far."""
        with suppress(FileNotFoundError):
            return [*map(int, (self.folder / "compilers").read_text().split())]
        return []

    def compiler(self, number: int = 0) -> int:
        """The id of a compiler, once it has begun."""
        until(lambda: len(self.compilers()) > number, "a compiler has begun")
        return self.compilers()[number]

    def end(self) -> None:
        """Leave nothing behind."""
        for process in [*self.compilers(), *(started.pid for started in self._started)]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for started in self._started:
            started.communicate()


@pytest.fixture
def starts(tmp_path: Path) -> Iterator[Starts]:
    made = Starts(tmp_path)
    yield made
    made.end()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code of a start, and its messages for people."""
    errors = process.communicate(timeout=60)[1]
    return process.returncode, errors


def parent_of(process: int) -> int:
    """By proc(5): the name, in brackets, may hold anything."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_starts_at_once_compile_once(starts: Starts, tmp_path: Path, compiles: list[str]) -> None:
    processes = [starts.start() for _ in range(4)]
    assert [ended(process) for process in processes] == [(0, "")] * 4
    assert len(starts.compilers()) == 1
    load_engines(packs(), str(tmp_path / "other"))
    assert len(compiles) == 1
    assert file_of(tmp_path / "other").read_bytes() == file_of(starts.cache).read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_rules_are_compiled_though_the_client_gives_up(starts: Starts, compiles: list[str]) -> None:
    starts.close_gate()
    first = starts.start()
    compiler = starts.compiler()
    assert parent_of(compiler) != first.pid  # clients end a tree of processes, too
    os.killpg(first.pid, signal.SIGKILL)
    assert ended(first)[0] == -signal.SIGKILL
    second = starts.start()
    second.kill()  # at any time: it waits, or is about to
    ended(second)
    assert is_running(compiler)
    starts.open_gate()
    until(lambda: not is_running(compiler), "it is done")
    assert ended(starts.start()) == (0, "")
    assert finds(load_engines(packs(), str(starts.cache)))
    assert (starts.compilers(), compiles) == ([compiler], [])


def test_a_compiler_that_is_stopped_does_not_hold_up_others(starts: Starts) -> None:
    starts.close_gate()
    first = starts.start()
    compiler = starts.compiler()
    os.kill(compiler, signal.SIGSTOP)
    starts.open_gate()
    first.kill()
    ended(first)
    assert ended(starts.start(stuck_seconds=0.5)) == (0, "")
    assert not list(starts.cache.glob("rules-*"))
    os.kill(compiler, signal.SIGCONT)
    until(lambda: not is_running(compiler), "it ends")
    assert ended(starts.start()) == (0, "")
    assert file_of(starts.cache).exists()


def test_a_compiler_that_is_killed_is_done_without(starts: Starts) -> None:
    starts.close_gate()
    process = starts.start()
    os.kill(starts.compiler(), signal.SIGKILL)
    assert ended(process) == (0, "")
    assert len(starts.compilers()) == 1
    assert ended(starts.start()) == (0, "")


def test_a_wrong_pack_is_told_by_the_one_that_waits(starts: Starts) -> None:
    """Also while another process compiles."""
    starts.close_gate()
    starts.start()
    starts.compiler()
    (starts.folder / "mine.yaml").write_text("rules: no")
    code, told = ended(starts.start())
    assert code == 1
    assert told.splitlines()[-1].startswith("pipeguard.errors.RuleError: mine.yaml")
    starts.open_gate()


def test_a_cache_that_is_removed_meanwhile_stops_no_start(starts: Starts) -> None:
    starts.close_gate()
    process = starts.start()
    compiler = starts.compiler()
    rmtree(starts.cache)
    starts.open_gate()
    assert ended(process) == (0, "")
    until(lambda: not is_running(compiler), "it ends")


def test_a_full_disk_is_no_error_and_leaves_nothing(starts: Starts) -> None:
    assert ended(starts.start(limit_bytes=1000)) == (0, "")
    assert list(starts.cache.glob("rules-*")) == []
    assert ended(starts.start()) == (0, "")
    assert file_of(starts.cache).exists()


def test_nothing_of_the_environment_runs_in_the_compiler(tmp_path: Path) -> None:
    """With the real command, so that it takes as long as all signs take to compile."""
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("json", "yaml", "sitecustomize", "usercustomize", "concurrent", "tempfile"):
        (hostile / f"{name}.py").write_text("import os; os._exit(0)")
    (tmp_path / "mine.yaml").write_bytes(packs()[0].content)
    done = run_command(
        [*PYTHON, START, str(tmp_path), "", "0", "60"],
        env={**os.environ, "PYTHONPATH": str(hostile), "PYTHONSTARTUP": str(hostile / "json.py")},
        cwd=hostile,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert file_of(tmp_path / "cache").exists()
