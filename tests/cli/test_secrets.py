"""`pipeguard secrets`: stored in a real keyring, given to real servers, hidden from others."""

import base64
import hashlib
import json
import os
import secrets
import select
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from time import monotonic

import pytest

from pipeguard.auth import resolve_arguments, ring
from pipeguard.errors import AuthError, InputError, StateError
from tests.auth.conftest import KEYRING
from tests.forking import PIPEGUARD
from tests.hostile.wire import Upstream
from tests.launch.processes import command_lines
from tests.listening import Listening
from tests.people import run_here
from tests.snapshot import Snapshot
from tests.wrap.wrapped import PYTHON, SERVER, Wrapped

TIMEOUT_SECONDS = 60
SECRET = secrets.token_urlsafe(24)
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}
NOTING = """import hashlib, os, pathlib, runpy, sys
token = os.environ.get("TOKEN") or sys.argv.pop(2).split("/")[1].split(",")[0]
digest = hashlib.sha256(token.encode()).hexdigest()
pathlib.Path(sys.argv[1]).write_text(digest)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""  # a server that notes first what it got


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring and a state folder for each test."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", KEYRING)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(ring, "_chosen", False)


def run(*arguments: str, given: str | bytes = "") -> subprocess.CompletedProcess[str]:
    """Run `pipeguard secrets` in this process."""
    ring._chosen = False  # as in a new process
    done = run_here("secrets", *arguments, given=given)
    assert SECRET not in done.stdout + done.stderr
    assert "internal error" not in done.stderr
    return done


def keep(name: str = "demo-token", value: str = SECRET) -> None:
    assert run("set", name, given=f"{value}\n").returncode == 0


def on_terminal(*arguments: str, typed: str = "", code: int = 0) -> str:
    """Return all output of a command on a terminal."""
    import pty

    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*PIPEGUARD, "secrets", *arguments])  # noqa: S606  no shell is wanted
    seen, deadline = b"", monotonic() + TIMEOUT_SECONDS
    try:
        while select.select([terminal], [], [], max(deadline - monotonic(), 0))[0]:
            chunk = os.read(terminal, 65536)
            seen += chunk
            if typed and b"not shown" in seen:
                os.write(terminal, typed.encode())
                typed = ""
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == code, seen
    return seen.decode()


def test_a_secret_is_kept_listed_replaced_and_forgotten(tmp_path: Path, snapshot: Snapshot) -> None:
    def shown(*words: str, given: str = "", code: int = 0) -> str:
        done = run(*words, given=given)
        assert done.returncode == code
        return f"$ pipeguard secrets {' '.join(words)}\n{done.stdout}{done.stderr}"

    shows = [shown("list"), shown("list", "--json")]
    shows += [shown("set", "demo-token", given=value) for value in (SECRET, f"{SECRET}2")]
    keep("OTHER")
    shows += [shown("list"), shown("list", "--json"), shown("delete", "OTHER"), shown("list")]
    snapshot.text("secrets", "\n".join((*shows, shown("delete", "OTHER", code=2))))
    state = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert state
    assert all(SECRET.encode() not in path.read_bytes() for path in state)


def test_what_is_no_name_is_refused(snapshot: Snapshot) -> None:
    names = ("''", "../up", "'a b'", "-x", "a/b", "x" * 101, "\u0430")
    snapshot.commands("secrets-names", "\n".join(f"secrets set -- {name}  # 2" for name in names))


def test_what_is_no_value_is_refused() -> None:
    for given in (" \n", "a\0b", b"\xff\xfe", "x" * 2**17):
        assert run("set", "demo-token", given=given).returncode == 2
    assert json.loads(run("list", "--json").stdout) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of this kind there")
def test_a_value_is_typed_unseen_and_shown_on_a_terminal_alone() -> None:
    assert SECRET not in on_terminal("set", "demo-token", typed=f"{SECRET}\n")
    assert on_terminal("get", "demo-token") == f"{SECRET}\r\n"
    piped = run("get", "demo-token")
    assert (piped.returncode, piped.stdout) == (2, "")
    assert "keyring:demo-token" in piped.stderr


@pytest.mark.parametrize(
    "how",
    [
        *("entry", "option", "none", "learn"),
        pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")),
    ],
)
def test_a_server_gets_the_value_and_nobody_else(tmp_path: Path, how: str) -> None:
    keep()
    (tmp_path / "notes").mkdir()
    digest, word = tmp_path / "notes" / "digest", ["--a=keyring:demo-token/keyring:demo-token,b"]
    more = {"entry": ["--env", "TOKEN"], "option": ["--env", "TOKEN=keyring:demo-token"]}.get(how)
    if more is None:  # in an argument
        if how != "none" and not shutil.which({"learn": "strace"}.get(how, "bwrap")):
            pytest.skip(f"{how} is not possible here")
        more = ["--isolate", how, *(["--write", str(digest.parent)] if how == "bubblewrap" else [])]
    else:
        word = []
    options = ["--name", "demo", "--log-level", "debug", *more]
    entry = {"TOKEN": "keyring:demo-token"} if how == "entry" else {}
    command = [*PYTHON, "-c", NOTING, str(digest), *word, str(SERVER)]
    with Wrapped(tmp_path, options=options, command=command, environment=entry) as wrapped:
        wrapped.initialize()
        assert digest.read_text() == hashlib.sha256(SECRET.encode()).hexdigest()
        assert SECRET not in json.dumps(wrapped.ask("do/environment"))
        guard = Path(f"/proc/{wrapped.process.pid}")
        if guard.exists():
            assert SECRET.encode() not in (guard / "environ").read_bytes()
            assert sum(SECRET.encode() in words for words in command_lines()) == len(word)
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert wrapped.store in kept
    for path in (*kept, wrapped.stderr):
        assert SECRET.encode() not in path.read_bytes()


REPEATING = """
import base64, json, os, sys
token = os.environ["TOKEN"]
ways = [token, base64.b64encode(f"user:{token}".encode()).decode(), f"a={token}&b", token + token]
for line in sys.stdin:
    asked = json.loads(line)
    print("stderr has", *ways, file=sys.stderr, flush=True)
    if "id" not in asked:
        continue
    result = {"ways": ways, "says": "all is well"}
    if asked["method"] == "initialize":
        result = {
            "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": token}, "instructions": f"Log in with {ways}.",
        }
    said = {"jsonrpc": "2.0", "id": asked["id"]}
    failed = asked["method"] == "do/error"
    said |= {"error": {"code": 1, "message": token}} if failed else {"result": result}
    print(json.dumps(said), flush=True)
"""


def test_what_a_server_repeats_of_it_is_shown_nowhere(tmp_path: Path) -> None:
    """No rule would recognise this value as a secret."""
    value = "correct horse battery"
    assert run("set", "phrase", given=f"{value}\n").returncode == 0
    options = ["--name", "odd", "--log-level", "debug", "--env", "TOKEN=keyring:phrase"]
    with Wrapped(tmp_path, options=options, command=[sys.executable, "-c", REPEATING]) as wrapped:
        told = [wrapped.initialize(), wrapped.ask("do/it"), wrapped.ask("do/error")]
        wrapped.hang_up()
        assert wrapped.code() == 0
    encoded = base64.b64encode(f"user:{value}".encode())[4:-4]
    places = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    shown = [json.dumps(told).encode(), *(path.read_bytes() for path in (*places, wrapped.stderr))]
    for one in shown:
        assert value.encode() not in one
        assert encoded not in one
    assert "all is well" in json.dumps(told)
    assert json.dumps(told).count("[redacted:secrets.known]") == 12
    assert "stderr has ****" in wrapped.stderr.read_text()


def test_a_server_behind_an_address_of_ours_gets_it_too(tmp_path: Path) -> None:
    keep()
    digest = tmp_path / "digest"
    command = [*PYTHON, "-c", NOTING, str(digest), str(SERVER)]
    with Listening(tmp_path, "--env", "TOKEN=keyring:demo-token", "--", *command) as listening:
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
        asked = urllib.request.Request(  # noqa: S310  an address of this machine
            listening.at("/mcp"),
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"},
        )
        with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  the test's own listener
            assert answer.status == 200
            answer.read(1)
        assert digest.read_text() == hashlib.sha256(SECRET.encode()).hexdigest()
        assert SECRET not in listening.said()


@pytest.mark.often("bearer", "part of a value")
@pytest.mark.parametrize(
    ("options", "variables", "header"),
    [
        (["--bearer-env", "MINE"], {"MINE": "keyring:demo-token"}, "Authorization"),
        (["--header-env", "X-Api-Key=keyring:demo-token"], {}, "X-Api-Key"),
        (["--header-env", "Authorization=H"], {"H": "Bearer keyring:demo-token"}, "Authorization"),
    ],
    ids=["bearer", "value", "part of a value"],
)
def test_a_header_has_the_value(
    tmp_path: Path, options: list[str], variables: dict[str, str], header: str
) -> None:
    keep()
    with Upstream() as upstream:
        options = [*options, "--upstream", upstream.url, "--transport", "streamable-http"]
        with Wrapped(tmp_path, options=options, command=[], environment=variables) as wrapped:
            wrapped.ask("ping")
    wanted = f"Bearer {SECRET}" if header == "Authorization" else SECRET
    assert {one.header(header.lower()) for one in upstream.seen} == {wanted}


def test_what_is_no_reference_of_ours_stays(tmp_path: Path) -> None:
    left = {"A": "keyring://elsewhere/x", "B": "a keyring: of keys", "C": "keyring:\nx"}
    more = [word for name in left for word in ("--env", name)]
    with Wrapped(tmp_path, options=["--name", "demo", *more], environment=left) as wrapped:
        wrapped.initialize()
        told = wrapped.ask("do/environment")["result"]
    assert isinstance(told, dict)
    assert {name: told[name] for name in left} == left
    words = ("srv", *left.values(), "--x=keyring://y", "my-keyring:z")
    assert resolve_arguments(words) == words


@pytest.mark.parametrize("command", ["keyring:demo-token", "npx -y keyring:demo-token", "sh -c"])
def test_a_secret_is_no_program_and_in_no_script(command: str) -> None:
    keep()
    words = (*command.split(), "a keyring:demo-token")
    with pytest.raises(InputError, match="where PipeGuard puts no secret"):
        resolve_arguments(words)


def test_without_a_keyring_a_secret_is_in_a_file_if_a_person_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    refused = run("set", "demo-token", given=SECRET)
    assert refused.returncode == AuthError.exit_code
    assert "--store file" in refused.stderr
    stored = run("set", "demo-token", "--store", "file", given=f"{SECRET}\n")
    assert "not encrypted" in stored.stdout
    assert [row["place"] for row in json.loads(run("list", "--json").stdout)] == ["file"]
    assert SECRET in on_terminal("get", "demo-token")
    note = tmp_path / "note"
    options = ["--name", "demo", "--env", "TOKEN=keyring:demo-token"]
    command = [*PYTHON, "-c", NOTING, str(note), str(SERVER)]
    with Wrapped(tmp_path, options=options, command=command) as wrapped:
        wrapped.initialize()
    assert note.read_text() == hashlib.sha256(SECRET.encode()).hexdigest()
    assert run("set", "demo-token", given="another").returncode == 0  # in the same place
    assert run("delete", "demo-token").returncode == 0
    assert not list((tmp_path / "state" / "secrets").iterdir())


@pytest.mark.parametrize(
    ("backend", "where", "why"),
    [
        (KEYRING, "variable", "the keyring has no secret 'absent'"),
        ("keyring.backends.fail.Keyring", "variable", "there is no secret 'absent'"),
        (KEYRING, "argument", "the keyring has no secret 'absent'"),
    ],
)
def test_a_missing_secret_is_told_before_the_server_starts_with_what_stores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, where: str, why: str
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    command = [*PYTHON, "-c", NOTING, str(tmp_path / "note"), str(SERVER)]
    options, what = ["--name", "demo"], "an argument of the server"
    if where == "variable":
        options, what = [*options, "--env", "TOKEN=keyring:absent"], "the variable TOKEN"
    else:
        command.append("--key=keyring:absent")
    with Wrapped(tmp_path, options=options, command=command) as wrapped:
        answer = wrapped.ask("initialize")
        wrapped.hang_up()
        assert wrapped.code() == InputError.exit_code
    told = f"{what} refers to keyring:absent: {why}."
    assert told in json.dumps(answer)
    assert told in wrapped.stderr.read_text()
    assert not (tmp_path / "note").exists()
    advice = wrapped.stderr.read_text().partition("Store it:  ")[2].partition("     ")[0]
    assert run(*shlex.split(advice)[2:], given=SECRET).returncode == 0


def test_a_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    assert run("set", "demo-token", "--store", "file", given=SECRET).returncode == 0
    (file,) = (tmp_path / "state" / "secrets").glob("*.secret")
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    assert "others may read" in on_terminal("get", "demo-token", code=StateError.exit_code)


def test_a_secret_is_in_one_place_at_a_time(tmp_path: Path) -> None:
    keep()
    assert run("set", "demo-token", "--store", "file", given="in a file").returncode == 0
    assert "in a file" in on_terminal("get", "demo-token")
    assert run("set", "demo-token", "--store", "keyring", given=SECRET).returncode == 0
    assert not list((tmp_path / "state" / "secrets").glob("*.secret"))
    assert SECRET in on_terminal("get", "demo-token")


def test_a_secret_moves_into_a_file_without_a_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keep()
    with monkeypatch.context() as gone:
        gone.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        moved = run("set", "demo-token", "--store", "file", given="in a file")
        assert (moved.returncode, "stays in it" in moved.stderr) == (0, True), moved.stderr
        assert "in a file" in on_terminal("get", "demo-token")
    assert run("delete", "demo-token").returncode == 0
    assert "no secret" in on_terminal("get", "demo-token", code=InputError.exit_code)
