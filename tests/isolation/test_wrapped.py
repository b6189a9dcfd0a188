"""`wrap --isolate` and `isolate:` in the policy: a real run, a real server, and its reach."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from pipeguard.config.options import WrapOptions, read
from pipeguard.errors import PipeGuardError
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation.cgroups import PREFIX, ROOT, remove_stale
from pipeguard.isolation.servers.starter import ServerStarter
from pipeguard.runtime.run import Run
from tests.each import each
from tests.launch.processes import until
from tests.wrap.wrapped import Wrapped

pytestmark = [pytest.mark.needs("bubblewrap"), pytest.mark.usefixtures("started")]

REACHER = (sys.executable, "-I", "-u", str(Path(__file__).with_name("reacher.py")))
KILLS = 3


class Isolated(Wrapped):
    """One run of `wrap` with a home of its own, in front of the reaching server."""

    def __init__(
        self, folder: Path, *options: str, command: tuple[str, ...] = REACHER, policy: str = ""
    ) -> None:
        home = folder / "home"
        (home / "notes").mkdir(parents=True, exist_ok=True)
        (home / "diary").write_text("a day")
        (home / "notes" / "one").write_text("first note")
        environment: dict[str, str | None] = {"HOME": str(home), "PIPEGUARD_POLICY": None}
        if policy:
            (folder / "policy.yaml").write_text(policy)
            environment["PIPEGUARD_POLICY"] = str(folder / "policy.yaml")
        super().__init__(
            folder,
            options=("--name", "reacher", *options),
            command=command,
            environment=environment,
        )

    def call(self, tool: str, what: object) -> str:
        """The text of a tool's result."""
        result = self.ask("tools/call", name=tool, arguments={"what": str(what)})["result"]
        assert isinstance(result, dict)
        assert isinstance(result["content"], list)
        content = result["content"][0]
        assert isinstance(content, dict)
        return str(content["text"])

    def ready(self) -> Isolated:
        """Shake hands and list the tools, so that they may be called."""
        self.initialize()
        self.ask("tools/list")
        return self


@contextmanager
def isolated(folder: Path, *options: str, policy: str = "") -> Iterator[Isolated]:
    with Isolated(folder, *options, policy=policy) as run:
        yield run.ready()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "home" / "notes"


def test_a_server_reads_and_writes_what_it_was_given(tmp_path: Path, notes: Path) -> None:
    notes.mkdir(parents=True)
    given = ("--connect", "*.com", "--connect", "169.254.169.254", "--connect", "api.example.com")
    with isolated(tmp_path, "--isolate", "auto", "--write", str(notes), *given) as run:
        assert run.call("read", notes / "one") == "first note"
        assert run.call("write", notes / "two") == "written"
        assert run.call("read", tmp_path / "home" / "diary") == "FileNotFoundError"
        assert run.call("write", "/tmp/own") == "written"
        said = run.said()
    assert "may reach hosts that anybody can have: *.com." in said
    assert "this machine's own credentials: 169.254.169.254." in said
    assert "api.example.com. Name" not in said
    assert (notes / "two").read_text() == "written"
    assert not Path("/tmp/own").exists()


def test_what_it_made_that_is_run_later_is_told_at_its_end(tmp_path: Path, notes: Path) -> None:
    app = notes / "group" / ".team" / "one" / "two" / "app"
    (app / ".vscode").mkdir(parents=True)
    (app / ".envrc").symlink_to("nowhere")
    (notes / "node_modules" / "fetched" / ".codex").mkdir(parents=True)
    (app / ".claude").symlink_to("../app")
    with isolated(tmp_path, "--isolate", "auto", "--write", str(notes)) as run:
        assert run.call("write", app / ".mcp.json") == "written"
        assert run.call("write", app / "notes.txt") == "written"
        assert run.call("write", app / ".vscode-notes.txt") == "written"
        (app / ".vscode" / "settings.json").write_text("by the user")
        (app / ".vscode" / ".git").mkdir()
        (notes / "node_modules" / "fetched").rename(notes / "fetched")
        run.hang_up()
        assert run.code() == 0
        told = [line for line in run.said().splitlines() if "isolation.write" in line]
    assert len(told) == 2
    assert f"{app}/.mcp.json"[-40:] in told[1]
    assert f"{notes}/fetched/.codex"[-40:] in told[0]


def test_a_policy_that_cannot_be_read_starts_no_server(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    command = ("/bin/sh", "-c", f"touch {mark}; exec cat")
    with Isolated(tmp_path, "--policy", str(tmp_path / "home"), command=command) as run:
        assert "not a regular file" in str(run.initialize()["error"])
        assert run.process.wait(60) == 2
    assert not mark.exists()


def test_the_policy_isolates_by_name_and_an_option_overrides_it(
    tmp_path: Path, notes: Path
) -> None:
    key = '? "isol\\\n  \\u0061te"\n:\n'  # however it is written
    policy = f"{key}- {{server: 'reach*', read: [~/notes]}}\n- {{server: other, read: [~/diary]}}\n"
    diary = tmp_path / "home" / "diary"
    with isolated(tmp_path, policy=policy) as run:
        assert run.call("read", notes / "one") == "first note"
        assert run.call("read", diary) == "FileNotFoundError"
    with isolated(tmp_path, "--isolate", "none", policy=policy) as run:
        assert run.call("read", diary) == "a day"


def test_a_home_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "home" / "memory"
    for expected, options in (
        ("FileNotFoundError", ("--keep-home",)),
        ("written", ("--keep-home",)),
        ("FileNotFoundError", ()),
    ):
        with isolated(tmp_path, "--isolate", "auto", *options) as run:
            assert run.call("read", file) == expected
            run.call("write", file)
    assert not file.exists()


WRONG = {
    ("--isolate", "chroot"): "choose from auto, bubblewrap, container, none, learn",
    ("--isolate", "auto", "--read", "/"): "/ cannot be given",
    ("--isolate", "auto", "--limit", "files=2"): "a server needs files=32 or more",
    ("--read", "/tmp"): "would have no effect: the server is not isolated",
    ("--isolate", "auto", "--policy", "none.yaml"): "cannot be read",
}


@each("options, why", list(WRONG.items()))
def test_what_cannot_be_given_starts_no_server(
    options: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    read_options = read([*options, "--", "/bin/true"])
    assert read_options is not None
    with pytest.raises(PipeGuardError, match=re.escape(why)):
        ServerStarter(read_options, {"PATH": os.defpath})


def test_a_program_that_does_not_exist_is_told_as_without_isolation(tmp_path: Path) -> None:
    with Isolated(tmp_path, "--isolate", "auto", command=("no-such-program",)) as run:
        assert "no-such-program: command not found" in str(run.initialize()["error"])
        assert run.process.wait(60) == 127


def test_the_exit_code_is_the_servers(tmp_path: Path) -> None:
    command = (sys.executable, "-I", "-c", "import sys; sys.exit(42)")
    with Isolated(tmp_path, "--isolate", "auto", command=command) as run:
        assert run.process.wait(60) == 42


def test_nothing_is_left_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    """No process, and no group, mount or folder outside its state folder."""
    chance = random.Random(7)  # noqa: S311  when to kill
    before, owners = mounts(), set[str]()
    for _ in range(KILLS):
        with Isolated(tmp_path, "--isolate", "auto") as run:
            owners.add(str(run.process.pid))
            if chance.random() < 0.7:
                run.request("initialize", protocolVersion="2025-11-25")
            sleep(chance.uniform(0.0, 0.5))
            os.kill(run.process.pid, signal.SIGKILL)
    until(lambda: not mounts() - before, "the mounts are gone")  # others come and go meanwhile
    remove_stale()  # as the next start does: one may have been killed before its warden was there
    until(lambda: not groups(owners), "the groups are gone")


def test_no_group_is_left_where_the_warden_is_killed(tmp_path: Path) -> None:
    with Isolated(tmp_path, "--isolate", "auto") as run:
        run.initialize()
        wrapper = run.process.pid
        warden, *_ = Path(f"/proc/{wrapper}/task/{wrapper}/children").read_text().split()
        os.kill(int(warden), signal.SIGKILL)
        run.process.wait(60)
        assert not list(Path(ROOT).glob(f"**/{PREFIX}{wrapper}-*"))


def mounts() -> set[str]:
    """The numbers of the mounts that this process sees."""
    return {line.split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def groups(owners: set[str]) -> list[Path]:
    """The control groups of sandboxes of these processes."""
    return [
        path
        for path in Path(ROOT).glob(f"**/{PREFIX}*-*")
        if path.name.removeprefix(PREFIX).partition("-")[0] in owners
    ]


def test_a_server_that_ended_hears_of_no_policy_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway starts it again under the same run, however often."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    command = ("/bin/true",)
    options = WrapOptions(command, {"--isolate": "bubblewrap", "--name": "one"}, {}, ())
    run = Run(identify_server(command), options, lambda _kinds: None)
    for _ in range(3):
        starter = ServerStarter(options, {"PATH": os.defpath})
        starter.attach(run)
        assert run.on_policy == [starter.update]
        starter.hang_up()
    assert run.on_policy == []
    run.close()
