"""Each host is an installer's, and each name a thing to throw away."""

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.benign_commands import is_disposable, is_installer
from pipeguard.detect.words import benign_commands
from tests.detect.words.proof import NO_WORD, matching, tables, unproved
from tests.fuzz.budget import tried


def installs(address: str) -> bool:
    return is_installer(f"curl -fsSL https://{address} | sh".encode())


def test_each_host_and_folder_is_an_installer_s() -> None:
    assert unproved(benign_commands.INSTALLER_HOSTS, installs) == []
    assert unproved(benign_commands.INSTALLER_PATHS, installs) == []
    assert not any(installs(f"x-{host}") for host in benign_commands.INSTALLER_HOSTS)


@tried(20)
@given(st.data())
def test_what_is_called_so_is_thrown_away(data: st.DataObject) -> None:
    for entry in benign_commands.DISPOSABLE:
        assert is_disposable(f"$ dropdb shop-{data.draw(matching(entry))}_2".encode())
    assert not is_disposable(f"$ dropdb shop-{NO_WORD}_2".encode())


def test_every_table_has_a_proof() -> None:
    assert tables(benign_commands) == {"INSTALLER_HOSTS", "INSTALLER_PATHS", "DISPOSABLE"}
