"""The parts of a run that need no process; the run itself is in tests/wrap. run.py, start.py."""

import json
import re
from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from pipeguard.cli.status import command as status
from pipeguard.config.options import WrapOptions
from pipeguard.detect.detector import DetectionSource
from pipeguard.errors import EngineError
from pipeguard.firewall.policy import Exempt, Layer, Policy, Selector
from pipeguard.firewall.protocol.places import Surface
from pipeguard.identity.server_name import Launched
from pipeguard.runtime import run
from pipeguard.state.audit import find_loosened
from pipeguard.state.store import open_store
from tests.fuzz.rulebook import engines
from tests.state.conftest import wait_until_written


def test_a_runs_name_is_eight_letters_and_digits_and_another_each_time() -> None:
    names = {run.make_run_id() for _ in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch("[0-9A-HJKMNP-TV-Z]{8}", name) for name in names)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"clientInfo": {"name": "editor", "version": "1.2"}}, "editor 1.2"),
        ({"clientInfo": {"name": "editor"}}, "editor"),
        ({"clientInfo": {"name": ["x"], "version": {}}}, ""),
        ({"clientInfo": "editor"}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_a_clients_name_is_what_it_says_in_its_opening(params: object, name: str) -> None:
    frame = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    assert run._read_client(json.dumps(frame).encode()) == name


def test_a_policy_that_stops_less_has_a_row_with_which_status_begins() -> None:
    options = WrapOptions(["demo"], {"--log-level": "off"}, {}, [])
    one = run.Run(Launched("demo", "demo", "demo"), options, lambda _: None, engines())
    looser = Policy(layers=(Layer(exceptions=(Exempt(Selector("secrets.jwt"), "made up"),)),))
    for policy, is_told in ((Policy(), False), (looser, True)):
        one._adopt(policy)
        wait_until_written(one._recorder)
        with open_store(one.store) as store:
            assert bool(find_loosened(store)) is is_told
        screen = CliRunner().invoke(status).output
        assert screen.startswith("Since ") is is_told
    one.close()


@pytest.mark.parametrize("error", [EngineError("damaged"), ModuleNotFoundError("updated")])
def test_only_the_frames_tell_that_the_engines_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(run, "open_engines", lambda: (bytes(16), Mock(side_effect=error)))
    monkeypatch.setattr(run, "start_thread", lambda _, work: work())
    options = WrapOptions(["demo"], {"--log-level": "off"}, {}, [])
    one = run.Run(Launched("demo", "demo", "demo"), options, lambda _: None)
    one.begin_loading()
    for one._loads_late in (True, False):
        one.prepare()
    one.close()


def test_the_two_directions_share_no_engine() -> None:
    scanners = DetectionSource(engines).detector.knowledge.scanners
    to_server = set(map(id, scanners[Surface.TO_SERVER]))
    for surface in (Surface.TO_CLIENT, Surface.DEFINITIONS):
        assert scanners[surface]
        assert not to_server & set(map(id, scanners[surface]))
