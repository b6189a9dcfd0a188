"""One command for many findings: it works, and covers each of them."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.assess.cures import shared_cure
from pipeguard.assess.values import PostureFinding
from pipeguard.cli import cli
from pipeguard.firewall.finding import Severity
from tests.assess.places import Entry, machine, of, repository


def findings(*fixes: str) -> list[PostureFinding]:
    return [PostureFinding("a", Severity.LOW, "", tuple(shlex.split(fix))) for fix in fixes]


@pytest.mark.parametrize(
    ("fixes", "cure"),
    [
        ((), ""),
        (("pipeguard setup cursor --server=a",), ""),
        (("pipeguard setup cursor --server=a", "pipeguard setup cursor --server=a"), ""),
        (
            ("pipeguard setup cursor --server=a", "", "pipeguard setup zed '--server=b c'"),
            "pipeguard setup cursor --server=a zed '--server=b c'",
        ),
        (
            (
                "pipeguard setup cursor --server=a --scope project",
                "pipeguard setup cursor --server=b --scope project --shared",
            ),
            "pipeguard setup cursor --server=a --server=b --scope project --shared",
        ),
        (
            ("pipeguard setup cursor --server=a", "pipeguard setup zed --server=a --scope project"),
            "pipeguard setup cursor zed --server=a --scope all",
        ),
        (("chmod go-r /a", "chmod go-r '/b c'"), "chmod go-r /a '/b c'"),
        (("chmod go-r /a", "chmod go-w /b"), ""),
    ],
)
def test_what_has_one_cure_is_cured_at_once(fixes: tuple[str, ...], cure: str) -> None:
    found = shared_cure(findings(*fixes))
    assert set(found) == set(shlex.split(cure))
    assert len(found) == len(set(found))


def test_a_combination_of_servers_is_cured_by_what_setup_takes(tmp_path: Path) -> None:
    servers: dict[str, Entry] = {name: {"command": f"mcp-{name}"} for name in ("files", "fetch")}
    (own,) = of(machine(tmp_path, servers), "toxic-flow")
    assert own.fix == ("pipeguard", "setup", "cursor")
    (shared,) = of(repository(tmp_path / "repository", servers), "toxic-flow")
    words = "--server=files --server=fetch --scope project --shared"
    assert set(shared.fix[3:]) == set(words.split())


def test_the_command_is_one_that_setup_takes() -> None:
    cure = shared_cure(
        findings("pipeguard setup cursor --server=a", "pipeguard setup zed --server=b")
    )
    result = CliRunner().invoke(cli, [*cure[1:], "--dry-run"])
    assert "no server is named" in str(result.exception)  # read, and none is there
