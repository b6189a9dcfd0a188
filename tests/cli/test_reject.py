"""`pipeguard reject` and `pipeguard forget`: removed and remaining data, and audit entries."""

import click
import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.forget import command as forget
from pipeguard.cli.reject import command as reject
from pipeguard.firewall.finding import Finding
from pipeguard.identity.server_name import identify_server
from pipeguard.launch.person import TOKEN_VARIABLE
from pipeguard.state import review
from pipeguard.state.audit import AuditFilter, AuditRow, rows
from pipeguard.state.paths import store_path
from pipeguard.state.store import open_store
from pipeguard.state.verification import verify
from tests.people import give_token, on_terminal
from tests.snapshot import Snapshot
from tests.state.samples import FORECAST, POISONED, audit_entry, held, record, seen

SECOND = {"name": "alerts", "description": "Alerts."}
THIRD = {"name": "wind", "description": "Wind."}


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tool that drifted, one that was never approved, and one that is trusted."""
    give_token(monkeypatch)
    with open_store() as store:
        store.remember("weather", [seen(FORECAST), held(POISONED), held(SECOND, "review")])
        store.remember("weather", [seen(THIRD)])
        refused = Finding("trust.held", "call.name", note="it was never approved", tool="alerts")
    record("weather", audit_entry("RUN1.c1", refused, tool="alerts"))


def run(verb: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(verb, list(arguments))


def known() -> dict[str, str]:
    """List the stored definitions, each as trusted, held or both."""
    with open_store() as store:
        return {
            one.target: "+".join(
                word
                for word, there in (
                    ("trusted", one.pin.approved_definition),
                    ("rejected" if one.pin.is_rejected else "held", one.pin.held_definition),
                )
                if there
            )
            for one in review.stored_definitions(store)
        }


def audited(action: str) -> list[AuditRow]:
    with open_store() as store:
        return list(rows(store, AuditFilter(action=action)))


ALL = {"weather/alerts": "held", "weather/get_forecast": "trusted+held", "weather/wind": "trusted"}


def test_what_was_approved_outlives_a_rejection(snapshot: Snapshot) -> None:
    snapshot.commands("reject", "reject weather/get_forecast --yes")
    assert known() == {**ALL, "weather/get_forecast": "trusted+rejected"}


def test_what_was_rejected_can_be_approved_by_its_name(snapshot: Snapshot) -> None:
    assert run(reject, "--all", "--yes").exit_code == 0
    rejected = {"weather/alerts": "rejected", "weather/get_forecast": "trusted+rejected"}
    assert known() == {**ALL, **rejected}
    snapshot.commands(
        "reject-nothing",
        """
        reject --all --yes  # 3
        reject weather/wind --yes  # 3
        diff weather/get_forecast  # 0
        diff weather/alerts
        approve weather/alerts --yes
        approve weather/get_forecast --yes
        approve weather/get_forecast --yes  # 3
        allow RUN1.c1 --why w  # 1
        """,
    )


def test_what_is_forgotten_is_new_the_next_time(snapshot: Snapshot) -> None:
    snapshot.commands("forget", "forget weather/get_forecast --yes")
    assert known() == {"weather/alerts": "held", "weather/wind": "trusted"}


def test_a_whole_server_is_forgotten_where_that_is_said(snapshot: Snapshot) -> None:
    snapshot.commands("forget-several", "forget weather --yes  # 2")
    assert known() == ALL
    assert run(forget, "weather", "--yes", "--all").exit_code == 0
    assert known() == {}
    snapshot.commands("forget-nothing", "forget --yes --all  # 3")


def test_a_person_is_asked_once_about_a_whole_server() -> None:
    code, shown = on_terminal("forget", "", "weather", environment={TOKEN_VARIABLE: ""})
    assert (code, known()) == (0, {})
    assert [target for target in ALL if target not in shown] == []
    assert "To forget 3 definitions, type " in shown
    assert "?" not in shown


@pytest.mark.parametrize("verb", [reject, forget], ids=["reject", "forget"])
def test_a_decision_is_in_the_audit(verb: click.Command) -> None:
    assert verb.name is not None
    run(verb, "weather/get_forecast", "--yes")
    (row,) = audited(verb.name)
    assert (row.server, row.entry.kind, row.entry.tool) == ("weather", "approval", "get_forecast")
    assert row.entry.frame_sha256 == held(POISONED).fingerprint
    assert seen(FORECAST).fingerprint in row.entry.findings
    assert verify(store_path()) == []


def test_what_cannot_be_done_is_refused_in_words(snapshot: Snapshot) -> None:
    snapshot.commands(
        "reject-refused",
        """
        forget  # 2
        forget weather/wind  # 2
        forget wether --yes  # 2
        forget --launch --yes  # 2
        reject weather/nothing --yes  # 2
        reject weather --all --json  # 2
        """,
    )
    assert known() == ALL


def test_only_one_kind_is_forgotten() -> None:
    assert run(forget, "weather", "--kind", "prompt", "--yes").exit_code == 3
    assert known() == ALL


def test_a_launch_is_forgotten_and_pins_stay(snapshot: Snapshot) -> None:
    with open_store() as store:
        store.name_server("weather", identify_server(["npx", "mcp-weather"]))
    snapshot.commands(
        "forget-launch",
        """
        forget weather --launch --yes
        forget weather --launch --yes  # 3
        """,
    )
    assert known() == ALL
    assert "npm mcp-weather" in audited("forget")[0].entry.findings
    assert verify(store_path()) == []
    with open_store() as store:
        name = store.name_server("weather", identify_server(["uvx", "mcp-weather"]))
    assert name == "weather"


def test_a_launch_is_asked_about_only_where_there_is_one() -> None:
    with open_store() as store:
        for name in ("weather", "empty"):
            store.name_server(name, identify_server(["npx", f"mcp-{name}"]))
    assert on_terminal("forget", "", "gone", "--launch")[0] == 3
    code, shown = on_terminal("forget", "", "empty", "--launch", environment={TOKEN_VARIABLE: ""})
    assert (code, "To forget what starts empty, type " in shown) == (0, True)
