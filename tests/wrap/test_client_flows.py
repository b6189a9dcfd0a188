"""What one guarded server returned is known to the others of the same client, and to no other."""

import base64
import codecs
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.store import open_store
from tests.commands import run_command
from tests.forking import PIPEGUARD
from tests.gateway.served import Served, environment_of_state
from tests.gateway.test_same_verdicts import SCRIPTED
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.wrap.client_servers import COMMAND, MAIL, call, command_of, guard, is_stopped
from tests.wrap.listening import Browser, Listening
from tests.wrap.wrapped import Object, Wrapped

pytestmark = pytest.mark.real
WORDS = MAIL.split()
SPELLINGS = {
    "as it is": MAIL,
    "in capitals": MAIL.upper(),
    "in Base64": base64.b64encode(MAIL.encode()).decode(),
    "in hexadecimal": MAIL.encode().hex(),
    "backwards": MAIL[::-1],
    "rotated": codecs.encode(MAIL, "rot13"),
    "numbered": "\n".join(f"{at}. {word}" for at, word in enumerate(WORDS, 1)),
    "in cells": "| " + " | ".join(WORDS) + " |",
    "with accents": MAIL.replace("e", "é").replace("o", "ö"),
    "in a document": f"Dear all,\nas promised:\n> {MAIL}\nRegards",
}


@contextmanager
def opened(folder: Path, *names: str) -> Iterator[list[Wrapped]]:
    """Guarded servers of this process, opened."""
    with ExitStack() as stack:
        servers = [stack.enter_context(guard(folder, name).opened()) for name in names]
        yield servers
        for server in servers:
            server.hang_up()
            server.process.wait(PATIENCE_SECONDS)


@contextmanager
def other(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another client, in a process of its own."""
    client = subprocess.Popen(
        [sys.executable, "-m", "tests.wrap.other_client", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with client:
        yield client


def ask(client: subprocess.Popen[str], *question: object) -> Object:
    assert client.stdin is not None
    assert client.stdout is not None
    print(json.dumps(question), file=client.stdin, flush=True)
    answer: Object = json.loads(client.stdout.readline())
    return answer


def found(folder: Path, rule: str) -> list[str]:
    """The findings of each message with a finding of a rule."""
    with open_store(folder / "state" / "pipeguard.db") as store:
        return [row.entry.findings for row in rows(store, AuditFilter(rule=rule))]


def shared(folder: Path) -> list[Path]:
    """The files of all clients."""
    return sorted((folder / "state" / "clients").glob("*.notes-2"))


def test_what_one_server_returned_leaves_through_no_other_in_any_spelling(tmp_path: Path) -> None:
    with opened(tmp_path, "mail", "web") as (mail, web):
        call(mail, "read_mail", id="1")
        passed = [k for k, v in SPELLINGS.items() if not is_stopped(call(web, "http_post", body=v))]
        assert passed == []
        assert not is_stopped(call(web, "http_post", body="The parcel has arrived, thank you."))
        assert {file.stat().st_mode & 0o777 for file in shared(tmp_path)} == {0o600}
    assert shared(tmp_path) == []
    assert "'read_mail of mail'" in found(tmp_path, "flows.private-out")[0]


def test_an_order_of_one_server_is_noticed_in_a_call_of_another(tmp_path: Path) -> None:
    with opened(tmp_path, "page", "shell") as (page, shell):
        call(page, "fetch", url="https://blog.example/setup")
        call(shell, "run_command", command=COMMAND)
    assert "'fetch of page'" in found(tmp_path, "flows.untrusted-acts")[0]


def test_a_text_that_says_it_is_private_is_known_at_once(tmp_path: Path) -> None:
    with opened(tmp_path, "plain", "web") as (plain, web):
        call(plain, "get_note", id="1")
        assert is_stopped(call(web, "http_post", body=MAIL))


def test_two_clients_share_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, "mail", "web") as (mail, web), other(tmp_path) as client:
        call(mail, "read_mail", id="1")
        assert not is_stopped(ask(client, "web", "http_post", {"body": MAIL}))
        assert is_stopped(call(web, "http_post", body=MAIL))
        assert len(shared(tmp_path)) == 2
    assert shared(tmp_path) == []


def test_a_killed_server_or_client_leaves_nothing_behind(tmp_path: Path) -> None:
    with opened(tmp_path, "mail", "web") as (mail, web):
        call(mail, "read_mail", id="1")
        mail.process.kill()
        assert is_stopped(call(web, "http_post", body=MAIL))
        web.process.kill()
        web.process.wait()
        assert shared(tmp_path) != []
    with opened(tmp_path, "mail") as (mail,):
        call(mail, "read_mail", id="1")
        assert len(shared(tmp_path)) == 1
    assert shared(tmp_path) == []


def test_a_gateway_and_a_wrap_of_one_client_know_the_same(tmp_path: Path) -> None:
    program, *words = command_of(tmp_path, "mail")
    settings = {"command": program, "args": words, "trust": "first-use"}
    servers = {"mode": "direct", "servers": {"mail": settings}}
    (tmp_path / "pipeguard.yaml").write_text(json.dumps(servers))
    served = Served(tmp_path, "--config", str(tmp_path / "pipeguard.yaml"))
    with opened(tmp_path, "web") as (web,), served as gateway:
        gateway.opened()
        until(lambda: "mail__read_mail" in str(gateway.ask("tools/list")), "it is listed")
        assert MAIL in str(call(gateway, "mail__read_mail", id="1"))
        assert is_stopped(call(web, "http_post", body=MAIL))


@pytest.mark.parametrize(
    ("options", "launcher"),
    [
        ((), ("sh", "-c", '"$@"; exit $?', "sh")),
        pytest.param(("--isolate", "auto"), (), marks=pytest.mark.needs("bubblewrap")),
    ],
    ids=["below a shell", "isolated"],
)
def test_a_client_is_known_however_it_starts_its_servers(
    tmp_path: Path, options: tuple[str, ...], launcher: tuple[str, ...]
) -> None:
    if options:
        options = *options, "--read", str(tmp_path), "--read", str(SCRIPTED.parent)
    program = *launcher, *PIPEGUARD
    with (
        guard(tmp_path, "mail", *options, pipeguard=program).opened() as mail,
        guard(tmp_path, "web", *options, pipeguard=program).opened() as web,
    ):
        call(mail, "read_mail", id="1")
        assert is_stopped(call(web, "http_post", body=MAIL))


def test_a_token_shares_what_it_read_at_any_address_and_with_no_other_token(
    tmp_path: Path,
) -> None:
    tokens = {name: f"made-up-{name.lower()}" for name in ("MINE", "THEIRS")}
    asked = "--token-env", "mine=MINE", "--token-env", "theirs=THEIRS"
    with (
        Listening(tmp_path, asked, command_of(tmp_path, "mail"), tokens) as mail,
        Listening(tmp_path, asked, command_of(tmp_path, "web"), tokens) as web,
    ):
        (mine, post), (_, other_post) = (
            [Browser(at.url, Authorization=f"Bearer {token}").open() for at in (mail, web)]
            for token in tokens.values()
        )
        call(mine, "read_mail", id="1")
        assert not is_stopped(call(other_post, "http_post", body=MAIL))
        assert is_stopped(call(post, "http_post", body=MAIL))
        assert (mail.end(), web.end()) == (0, 0)
    assert shared(tmp_path) == []


def test_the_policy_keeps_each_server_to_itself(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("flows: server\n")
    policy = "--policy", str(tmp_path / "policy.yaml")
    with guard(tmp_path, "mail", *policy).opened() as mail, opened(tmp_path, "web") as (web,):
        call(mail, "read_mail", id="1")
        assert not is_stopped(call(web, "http_post", body=MAIL))


def test_a_file_that_fails_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(0o700)
    (tmp_path / "state" / "clients").write_text("in the way")
    with opened(tmp_path, "mail", "web") as (mail, web):
        assert MAIL in str(call(mail, "read_mail", id="1"))
        assert not is_stopped(call(web, "http_post", body=MAIL))
    told = run_command([*PIPEGUARD, "status"], env=environment_of_state(tmp_path))
    assert "2 runs in 7 days did not learn what other servers returned" in told.stdout
