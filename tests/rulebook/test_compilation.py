"""Who compiles: one process at a time, which neither ends with its client nor holds up others."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from pipeguard.errors import EngineError
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook import cache, compiler
from pipeguard.rulebook.cache import load_engines
from pipeguard.rulebook.cache_files import Index, open_index, store, write_index
from pipeguard.rulebook.cache_key import cache_key
from tests.launch.processes import is_running, until
from tests.rulebook.words import contents_of, finds, index_of, packs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks and signals of POSIX")

# The compiler as a program, with simple signs. It notes its id; if there is a FIFO, it waits at it.
COMPILER = """
import os
from pathlib import Path
from pipeguard.detect.scanning import engine
from pipeguard.rulebook import compiler, compiler_process

folder = Path({folder!r})
engine.SIGNS = {{name: f"no sign {{name}}" for name in engine.SIGNS}}
engine.SIGNS_TO_SERVER = {{name: f"no sign {{name}}" for name in engine.SIGNS_TO_SERVER}}
engine.SQUEEZED_SIGNS = {{name: f"no sign {{name}}" for name in engine.SQUEEZED_SIGNS}}
compile_rules = compiler.compile_rules

def held_up(*arguments):
    with open(folder / "compilers", "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    if (folder / "gate").exists():
        (folder / "gate").read_bytes()
    compile_rules(*arguments)

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
        self.private = folder / "private"
        self.private.mkdir()
        (folder / "mine.yaml").write_bytes(packs()[0].content)
        self._gate = folder / "gate"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *, limit_bytes: int = 0) -> subprocess.Popen[str]:
        """Start one, in a process group of its own."""
        compiler = COMPILER.format(folder=str(self.folder))
        process = subprocess.Popen(
            [*PYTHON, START, str(self.folder), compiler, str(limit_bytes)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.private)},
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def close_gate(self) -> None:
        """Let every compiler wait once it has begun."""
        os.mkfifo(self._gate)

    def open_gate(self) -> None:
        """Let them go on."""
        gate = os.open(self._gate, os.O_RDWR | os.O_NONBLOCK)  # so that it can be opened to read
        self._gate.unlink()
        os.close(gate)

    def age_lock(self) -> None:
        """Let it be long ago that something was compiled."""
        os.utime(self.cache / "lock", (0, 0))

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
    """The exit code of a start, and what it wrote for people."""
    errors = process.communicate(timeout=60)[1]
    return process.returncode, errors


def parent_of(process: int) -> int:
    """By proc(5): the name, in brackets, may hold anything."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_starts_at_once_compile_once(starts: Starts) -> None:
    processes = [starts.start() for _ in range(4)]
    assert [ended(process) for process in processes] == [(0, "")] * 4
    assert len(starts.compilers()) == 1
    assert len(list(starts.cache.glob("rules-*.index"))) == 1


def test_what_is_compiled_elsewhere_is_what_would_be_compiled_here(
    starts: Starts, tmp_path: Path, compiles: list[str]
) -> None:
    assert ended(starts.start()) == (0, "")
    assert finds(load_engines(packs(), str(starts.cache)))
    assert compiles == []
    load_engines(packs(), str(tmp_path / "other"))
    assert len(compiles) == 1
    for file in (index_of(starts.cache), *contents_of(starts.cache)):
        assert (tmp_path / "other" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_client_that_gives_up_finds_the_rules_compiled_the_next_time(
    starts: Starts, compiles: list[str]
) -> None:
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
    starts.age_lock()
    starts.open_gate()
    until(lambda: not is_running(compiler), "it is done")
    assert (starts.cache / "lock").stat().st_mtime > 0, "others could see that it went on"
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
    starts.age_lock()
    code, told = ended(starts.start())
    assert code == 0
    assert told.startswith("pipeguard: the compiler of the rules has been stuck for ")
    assert len(told.splitlines()) == 1
    assert len(starts.compilers()) == 2
    os.kill(compiler, signal.SIGCONT)
    until(lambda: not is_running(compiler), "it ends")
    assert ended(starts.start()) == (0, "")
    assert len(list(starts.cache.glob("rules-*.index"))) == 1


def test_the_one_that_started_a_stopped_compiler_says_so_and_compiles_itself(
    starts: Starts,
) -> None:
    starts.close_gate()
    process = starts.start()
    os.kill(starts.compiler(), signal.SIGSTOP)
    starts.age_lock()
    code, told = ended(process)
    assert code == 0
    assert told.startswith("pipeguard: the compiler of the rules has been stuck for ")
    assert len(starts.compilers()) == 1


@pytest.mark.parametrize("target", ["none", "mine.yaml"])
def test_a_link_in_place_of_the_lock_is_no_error(starts: Starts, target: str) -> None:
    starts.cache.mkdir(mode=0o700)
    lock = starts.cache / "lock"
    lock.symlink_to(starts.folder / target)
    assert ended(starts.start()) == (0, "")
    assert list(starts.cache.glob("rules-*.index"))
    assert not lock.is_symlink()
    assert not (starts.folder / "none").exists()


def test_a_compiler_that_is_killed_is_done_without(starts: Starts) -> None:
    starts.close_gate()
    process = starts.start()
    os.kill(starts.compiler(), signal.SIGKILL)
    assert ended(process) == (0, "")
    assert len(starts.compilers()) == 1
    assert ended(starts.start()) == (0, "")


def test_a_wrong_pack_is_told_by_the_one_that_waits(starts: Starts) -> None:
    (starts.folder / "mine.yaml").write_text("rules: no")
    for _ in range(2):
        code, told = ended(starts.start())
        assert code == 1
        assert told.splitlines()[-1].startswith("pipeguard.errors.RuleError: mine.yaml")


def test_a_wrong_pack_is_told_while_another_process_compiles(starts: Starts) -> None:
    starts.close_gate()
    starts.start()
    starts.compiler()
    (starts.folder / "mine.yaml").write_text("rules: no")
    code, told = ended(starts.start())
    assert code == 1
    assert told.splitlines()[-1].startswith("pipeguard.errors.RuleError: mine.yaml")
    starts.open_gate()


def test_a_cache_that_is_removed_meanwhile_is_done_without(starts: Starts) -> None:
    starts.close_gate()
    process = starts.start()
    compiler = starts.compiler()
    for file in starts.cache.iterdir():
        file.unlink()
    starts.cache.rmdir()
    private = starts.compiler(1)
    assert len(list(starts.private.iterdir())) == 1
    starts.open_gate()
    assert ended(process) == (0, "")
    until(lambda: not is_running(compiler) and not is_running(private), "both end")
    assert list(starts.private.iterdir()) == []
    assert not starts.cache.exists()


@pytest.mark.usefixtures("compiles")
def test_nothing_is_written_once_all_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader removes its private folder as soon as it has all."""
    made = packs()
    stored: list[str] = []
    written: list[Index] = []

    def storing(folder: str, content: bytes, key: str = "") -> str:
        name = store(folder, content, key)
        stored.append(name)
        return name

    def writing(folder: str, key: bytes, index: Index) -> None:
        if written:  # all is compiled before the first database is told
            until(lambda: len(stored) == 1 + len(index.databases), "all is stored")
        write_index(folder, key, index)
        written.append(index)

    monkeypatch.setattr(compiler, "store", storing)
    monkeypatch.setattr(compiler, "write_index", writing)
    folder.mkdir()
    compiler.compile_rules(made, str(folder), cache_key(made))
    assert [all(index.databases) for index in written].count(True) == 1
    assert all(written[-1].databases)


def test_a_private_folder_goes_with_its_reader(starts: Starts) -> None:
    starts.cache.touch()
    starts.close_gate()
    process = starts.start()
    compiler = starts.compiler()
    process.kill()
    ended(process)
    assert len(list(starts.private.iterdir())) == 1
    starts.open_gate()
    until(lambda: not is_running(compiler), "it ends")
    assert list(starts.private.iterdir()) == []


def test_a_full_disk_is_told(starts: Starts) -> None:
    code, told = ended(starts.start(limit_bytes=1000))
    assert code == 1
    assert "nor to a temporary folder: File too large" in told
    assert list(starts.private.iterdir()) == []
    assert ended(starts.start()) == (0, "")


def test_nothing_of_the_environment_runs_in_the_compiler(
    tmp_path: Path,
) -> None:
    """With the real command, so that it takes as long as all signs take to compile."""
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("json", "yaml", "sitecustomize", "usercustomize", "concurrent", "tempfile"):
        (hostile / f"{name}.py").write_text("import os; os._exit(0)")
    (tmp_path / "mine.yaml").write_bytes(packs()[0].content)
    done = subprocess.run(
        [*PYTHON, START, str(tmp_path), "", "0"],
        env={**os.environ, "PYTHONPATH": str(hostile), "PYTHONSTARTUP": str(hostile / "json.py")},
        cwd=hostile,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert index_of(tmp_path / "cache").exists()


def test_a_text_waits_only_for_the_databases_that_it_needs(
    folder: Path, compiles: list[str]
) -> None:
    load_engines(packs(), str(folder))
    key = cache_key(packs())
    done = open_index(str(folder), key)
    names = [file.name for file in done.databases if file is not None]
    last = (set(done.engines[0].plain) - set(done.engines[1].plain)).pop()  # of one side alone
    some = [name if number != last else "" for number, name in enumerate(names)]
    write_index(str(folder), key, Index(done.rules.name, some, done.engines))
    with open(folder / "lock", "rb+") as lock:  # as if another process compiled
        fcntl.flock(lock, fcntl.LOCK_EX)
        begun: list[bool] = []
        engines = load_engines(packs(), str(folder), on_compiling=lambda: begun.append(True))
        assert begun == [True]
        engines.to_client.scan("plain words", str, Surface.TO_CLIENT)
        matches: list[int] = []
        waiting = Thread(
            target=lambda: matches.append(
                len(engines.to_server.scan("xyzzy-123", str, Surface.TO_SERVER).matches)
            ),
            daemon=True,
        )
        waiting.start()
        assert matches == []
        write_index(str(folder), key, Index(done.rules.name, names, done.engines))
        waiting.join(60)
    assert matches == [1]
    assert len(compiles) == 1


def test_a_compiler_that_dies_between_two_databases_is_done_without(
    folder: Path, compiles: list[str]
) -> None:
    load_engines(packs(), str(folder))
    key = cache_key(packs())
    done = open_index(str(folder), key)
    names = ["" for _ in done.databases]
    write_index(str(folder), key, Index(done.rules.name, names, done.engines))
    for file in done.databases:
        assert file is not None
        file.remove()
    assert finds(load_engines(packs(), str(folder), on_compiling=lambda: None))
    assert len(compiles) == 2
    assert open_index(str(folder), key).is_complete


def test_rules_that_change_while_they_are_compiled_are_not_mixed(
    folder: Path, compiles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    current = packs()
    monkeypatch.setattr(cache, "sources", lambda: current)
    load_engines(None, str(folder))
    key = cache_key(packs())
    done = open_index(str(folder), key)
    some = Index(done.rules.name, ["" for _ in done.databases], done.engines)
    write_index(str(folder), key, some)
    with open(folder / "lock", "rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engines = load_engines(None, str(folder), on_compiling=lambda: None)
        current = packs("plugh")
        with pytest.raises(EngineError, match=r"changed.*Start again"):
            engines.to_client.load()
    assert len(compiles) == 1
