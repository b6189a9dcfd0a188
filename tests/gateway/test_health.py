"""Servers that end or hang are started again, and the others do not notice."""

import json
import os
import signal
from dataclasses import replace

import pytest

from pipeguard.firewall.session.own_frames import RULE
from pipeguard.gateway import member
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.life import State
from pipeguard.gateway.server_output import last_lines, output_path
from pipeguard.gateway.servers_file import ServerSettings
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.review import StoredDefinition, held_definitions, reject
from pipeguard.state.store import open_store
from tests.gateway.rogues import talking
from tests.transports.wire import eventually
from tests.wrap.wrapped import PYTHON, SERVER


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "PING_SECONDS", 0.05)
    monkeypatch.setattr(member, "ANSWER_SECONDS", 1.0)  # a server that runs answers in it


def actor(name: str, script: str = "pass") -> ServerSettings:
    """The tests' own server, which writes its process id on its standard error first."""
    code = (
        "import os, sys, runpy; print('pid', os.getpid(), file=sys.stderr, flush=True);"
        f"{script}; sys.argv = ['server']; runpy.run_path({str(SERVER)!r}, run_name='__main__')"
    )
    return ServerSettings(name, (*PYTHON, "-c", code), trust="first-use")


def processes_of(server: str) -> list[int]:
    """Return the processes of a server, from the output of each."""
    if not output_path(server).is_file():
        return []
    return [int(line.split()[-1]) for line in last_lines(server, 1000) if " pid " in line]


async def process_of(gateway: Gateway, server: str, *, after: int = 0) -> int:
    """Return the process in which a server runs now, different from an earlier one."""

    def is_there() -> bool:
        is_ready = gateway.members[server].state is State.READY
        return is_ready and processes_of(server)[-1:] not in ([], [after])

    await eventually(is_there, f"{server} runs")
    return processes_of(server)[-1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_one_that_ends_or_hangs_is_started_again(number: signal.Signals) -> None:
    async with talking(actor("one"), actor("two")) as (client, gateway):
        before, other = await process_of(gateway, "one"), await process_of(gateway, "two")
        os.kill(before, number)
        await process_of(gateway, "one", after=before)
        assert await client.text("one__echo", text="again") == "again"
        assert await process_of(gateway, "two") == other
        if number is signal.SIGSTOP:
            with pytest.raises(ProcessLookupError):
                os.kill(before, 0)


async def test_a_call_that_a_server_dies_of_may_have_acted_and_it_is_started_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    mortal = (
        "import os, json; loads = json.loads;"
        "json.loads = lambda s: os._exit(3) if 'xxxxx' in str(s) else loads(s)"
    )
    async with talking(actor("one", mortal)) as (client, gateway):
        before = await process_of(gateway, "one")
        answer = await client.ask("tools/call", name="one__echo", arguments={"text": "xxxxx"})
        message = str(answer["error"])
        assert "the call may have taken effect before that (event " in message
        assert "PipeGuard starts it again." in message

        def lengths() -> list[int]:
            with open_store() as store:
                return [row.entry.frame_bytes for row in rows(store, AuditFilter(rule=RULE))]

        await eventually(lambda: len(lengths()) == 1, "it is recorded as the client got it")
        assert abs(lengths()[0] - len(json.dumps(answer, separators=(",", ":")))) < 9, "another id"
        await process_of(gateway, "one", after=before)
        assert "why='it ended by itself: exit code 3'" in capfd.readouterr().err


async def test_what_was_rejected_does_not_wait_again_once_its_server_was_started_anew() -> None:
    async with talking(replace(actor("one"), trust="review")) as (_, gateway):
        before, server = await process_of(gateway, "one"), gateway.members["one"]

        def waiting() -> list[StoredDefinition]:
            with open_store() as store:
                return held_definitions(store)

        await eventually(lambda: len(waiting()) == server.offer.waiting > 0, "all of it is stored")
        with open_store() as store:
            reject(store, held_definitions(store), "me")
        await eventually(lambda: server.offer.waiting == 0, "it heard of it")
        os.kill(before, signal.SIGKILL)
        await process_of(gateway, "one", after=before)
        assert (waiting(), server.offer.waiting) == ([], 0)


async def test_one_that_is_busy_is_left_alone() -> None:
    sleepy = (
        "import time, json; loads = json.loads;"
        "json.loads = lambda s: (time.sleep(3.0 * ('xxxxx' in str(s))), loads(s))[1]"
    )
    async with talking(actor("slow", sleepy)) as (client, gateway):
        before = await process_of(gateway, "slow")
        assert await client.text("slow__echo", text="x" * 5) == "xxxxx"
        assert await process_of(gateway, "slow") == before


async def test_a_call_of_a_server_that_is_down_says_why() -> None:
    async with talking(actor("one")) as (client, gateway):
        before = await process_of(gateway, "one")
        member_of_one = gateway.members["one"]
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: member_of_one.state is not State.READY, "it is noticed")
        answer = await client.text("one__echo", text="hello")
        assert answer == "hello" or "is not available: it ended by itself" in answer


async def test_one_that_cannot_start_is_told_with_its_exit_code() -> None:
    code = "import sys; sys.stderr.write('Cannot find module x'); sys.exit(3)"
    async with talking(actor("one"), ServerSettings("broken", (*PYTHON, "-c", code))) as (
        _,
        gateway,
    ):
        await eventually(lambda: "exit code 3" in gateway.members["broken"].why, "it has ended")
        assert "exit code 3" in gateway.describe_missing()["broken"]
        assert "Cannot find" not in gateway.absent()["broken"], "a model reads that"
