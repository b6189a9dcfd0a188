"""`pipeguard logs`: a server that wrote nothing, and a name that no server has."""

from pathlib import Path

from pipeguard.gateway.server_output import ServerOutput
from pipeguard.identity.server_name import Launched
from pipeguard.state.store import open_store
from tests.snapshot import Snapshot


def test_a_wrong_name_is_told_with_the_right_ones(tmp_path: Path, snapshot: Snapshot) -> None:
    snapshot.commands("logs-none", "logs\nlogs weather  # 2")
    with open_store() as store:
        store.name_server("weather", Launched("weather", "weather", "weather"))
    ServerOutput("git", bytes)(b"hello\n")
    file = tmp_path / "config" / "pipeguard" / "pipeguard.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("servers:\n  files: {command: cat}\n")
    snapshot.commands(
        "logs",
        """
        logs
        logs git --lines 0
        logs weather  # 2
        logs files  # 2
        logs weathr  # 2
        logs nosuch  # 2
        """,
    )
