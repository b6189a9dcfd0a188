"""Servers in containers of podman: view, access, output and traces."""

import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest

from pipeguard.isolation import landlock
from pipeguard.isolation.container_attendant import PREFIX, RECORDS, stale_records
from pipeguard.isolation.container_engines import ContainerEngine
from pipeguard.isolation.container_files import sort_files
from pipeguard.isolation.engines import Isolation
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import HOMES, Sandbox, this_host
from pipeguard.isolation.view import build_view
from pipeguard.launch.child import Child, Command
from pipeguard.transports.descriptors import shut_writing
from tests.files import write_program
from tests.isolation.containers import engine_here, left_of
from tests.isolation.egress.sandbox import Records
from tests.isolation.sandboxes import printed
from tests.isolation.test_escapes import CANARY, LIMITS, check_outcomes, check_refused, tried
from tests.isolation.test_escapes import home as home
from tests.isolation.test_roots import children
from tests.isolation.test_wrapped import REACHER, Isolated
from tests.launch.processes import command_lines, is_running, python, read_all, read_line, until

KILLS = 3  # one of each kind
STUBBORN = (
    "import os, signal, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print(os.environ.get('TOKEN'), flush=True)\n"
    "while True: time.sleep(1)\n"
)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of isolation, which every test has for itself."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / HOMES


@pytest.fixture
def engine(state: Path) -> ContainerEngine:
    """The engine that works here, which every sandbox of the test then finds."""
    return engine_here(state)


def contained(source: str, **variables: str) -> Child:
    command = Command(python(source), {"PATH": os.environ["PATH"], **variables}, "/")
    return Sandbox("test", command, Profile(), engine=Isolation.CONTAINER).start()


def test_nothing_that_was_not_given_can_be_reached(
    home: Path, tmp_path: Path, engine: ContainerEngine
) -> None:
    records = Records()
    given = str(home / "work" / "given")
    profile = Profile(write=(given,), limits=LIMITS)
    outcomes = tried(home, tmp_path, profile, records, Isolation.CONTAINER)
    if not engine.is_rootless and landlock.obstacle() is not None:
        del outcomes["write /dev/new"]  # of root, and in 64 MiB of memory of the container's own
    check_outcomes(outcomes)
    check_refused(records)


LOOK = """
import os
for path in ("/.pipeguard-rules", "/.pipeguard-landlock", "/proc/1/environ", "/dev/shm/own"):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR if "own" in path else os.O_RDONLY))
        print("opened")
    except OSError as error:
        print(error.strerror)
print(sorted(set(os.listdir("/proc/self/fd")) - {"0", "1", "2"}).__len__())
"""


@pytest.mark.skipif(landlock.obstacle() is not None, reason=str(landlock.obstacle()))
def test_landlocks_rules_hold_in_a_container(engine: ContainerEngine, home: Path) -> None:
    """Paths that are not granted, as its own files, are refused; the first process is outside."""
    given = str(home / "work" / "given")
    profile = Profile(write=(given,))
    said = printed(python(LOOK), profile, engine=Isolation.CONTAINER, folder=given).splitlines()
    assert said == [*["Permission denied"] * 3, "opened", "1"]


def test_what_a_server_is_told_is_shown_nowhere(engine: ContainerEngine, state: Path) -> None:
    child = contained(f"{STUBBORN}#{CANARY}-argument", TOKEN=f"{CANARY}-variable")
    try:
        assert read_line(child.stdout_fd).decode() == f"{CANARY}-variable"
        (name,) = [path.name for path in (state / RECORDS).iterdir()]
        assert CANARY not in engine.call("inspect", name).stdout.decode()
        assert name in engine.call("inspect", name).stdout.decode()
        assert name in left_of(engine, state)  # the twin: it is found while it is there
        assert stale_records(str(state)) == []
        assert CANARY not in engine.call("logs", name).stdout.decode()
        named = [words for words in command_lines() if name.encode() in words]
        assert named  # the twin: the client is there
        assert not [words for words in named if CANARY.encode() in words]
        files = [path for path in state.rglob("*") if path.is_file()]
        assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    finally:
        child.close()
    assert name not in left_of(engine, state)


def test_variables_words_and_exit_code_arrive_as_they_are(
    engine: ContainerEngine, state: Path
) -> None:
    values = {"QUOTED": 'it\'s "so"\n`id` $(id) \\ *', "EMPTY": "", "n": "5", "end": "of text"}
    values["BYTES"] = bytes(range(1, 256)).decode("utf-8", "surrogateescape")
    source = (
        "import json, os, sys\n"
        "print(json.dumps([dict(os.environ), sys.stdin.read()]))\n"
        "sys.stderr.write('aside')\n"
        "sys.exit(42)\n"
    )
    child = contained(source, **values)
    try:
        os.write(child.stdin_fd, b"a frame\n")
        shut_writing(child.stdin_fd)
        seen, said = json.loads(read_all(child.stdout_fd))
        assert {name: seen[name] for name in values} == values
        assert set(seen) - set(values) <= {"PATH", "HOME", "LC_CTYPE", "_"}
        assert said == "a frame\n"
        assert read_all(child.stderr_fd) == b"aside"
        ended = child.wait(60)
        assert ended is not None
        assert ended.code == 42
    finally:
        child.close()
    assert left_of(engine, state) == []


def test_a_server_that_is_a_container_is_hardened(tmp_path: Path, engine: ContainerEngine) -> None:
    """podman runs its own words, with the additions."""
    if engine.options or not engine.is_limited:
        pytest.skip("podman does not run with its own settings here")
    image = engine.image(sort_files(build_view(Profile(), this_host(), (), "/", None), ()).image)
    folders = dict.fromkeys(("/usr", sys.base_prefix, str(Path(REACHER[-1]).parent)))
    mounts = (word for path in folders for word in ("-v", f"{path}:{path}:ro"))
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
    words = ("podman", "run", "-i", *limits, *mounts, image)
    command = (*words, os.path.realpath(sys.executable), *REACHER[1:])
    with Isolated(tmp_path, "--isolate", "auto", command=command) as run:
        run.ready()
        assert "--network none --cap-drop ALL --security-opt no-new-privileges" in run.said()
        assert run.call("read", tmp_path / "home" / "diary") == "FileNotFoundError"
        assert run.call("write", "/new") == "OSError"
        assert run.call("write", "/tmp/own") == "written"
        assert run.call("connect", "192.0.2.1:80") == "OSError"
    with Isolated(tmp_path, "--isolate", "auto", command=(*words[:2], "-v", "/:/x", "y")) as run:
        assert "-v /:/x" in str(run.initialize()["error"])


def test_a_server_that_starts_in_its_home_keeps_it(home: Path, engine: ContainerEngine) -> None:
    """Clients start servers in the user's home, or in any folder that the server is not given."""
    source = "import pathlib; p = pathlib.Path('m'); print(p.exists()); p.write_text('x')"
    kept, in_one = Profile(keeps_home=True), Isolation.CONTAINER
    said = [
        printed(python(source), kept, engine=in_one, folder=str(folder))
        for folder in (home, home, home / "work")
    ]
    assert said == ["False\n", "True\n", "False\n"]
    assert not (home / "m").exists()


def test_a_link_in_the_home_leads_where_it_did(tmp_path: Path, home: Path, state: Path) -> None:
    engine_here(state)
    tool = home / "tools" / "tool-1.2"
    write_program(tool / "server", '#!/bin/sh\nreadlink -f -- "$0"\n')
    (home / "bin").mkdir()
    (home / "bin" / "server").symlink_to(tool / "server")
    said = printed([str(home / "bin" / "server")], engine=Isolation.CONTAINER)
    assert said.strip() == str(tool / "server")


def test_nothing_is_left_after_a_kill_at_any_moment(tmp_path: Path, state: Path) -> None:
    """PipeGuard, its warden, or both at once."""
    engine = engine_here(state)
    chance = random.Random(26)  # noqa: S311  when to kill
    options = ("--isolate", "container")
    server = tuple(python(f"{STUBBORN}# {state}"))
    for turn in range(KILLS):
        with Isolated(tmp_path, *options, command=server) as run:
            sleep(chance.uniform(0.0, 0.9))
            wardens = [*children(run.process.pid)]
            victims = [run.process.pid] * (turn % 3 != 1) + wardens * (turn % 3 != 0)
            for victim in victims:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            run.process.kill()
    until(lambda: not running(server), "no server is left")
    until(lambda: not [words for words in command_lines() if os.fsencode(state) in words], "none")
    contained("print()").close()  # the next start removes what was left
    assert left_of(engine, state) == []
    assert not [path for path in (state / RECORDS).iterdir() if path.name.startswith(PREFIX)]
    kept = [path for runtime in ("runc", "crun") for path in Path("/run", runtime).glob("*/*")]
    assert not [path for path in kept if path.is_file() and str(state) in path.read_text("latin-1")]


def running(server: Sequence[str]) -> list[int]:
    """The processes that run a server."""
    words = b"\0".join(map(os.fsencode, server[-2:]))
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if words in path.read_bytes() and is_running(int(path.parent.name)):
                found.append(int(path.parent.name))
    return found
