"""Servers found in a folder; one that others could have written is not started."""

import json
from pathlib import Path

import pytest

from pipeguard.errors import PolicyError
from pipeguard.gateway.discovery import MOST_BYTES, discovered_servers, read_own_text


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_each_file_and_folder_is_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path.parent)  # a relative folder, as the documentation has it
    write(tmp_path / "notes.py", "")
    write(tmp_path / "alone.py", "# /// script\n# ///\n")
    write(tmp_path / "entry.yaml", "\ufeffcommand: node\nargs: [a.js]\n")
    write(tmp_path / "web" / "server.json", json.dumps({"command": "npx", "args": ["web"]}))
    write(tmp_path / "script" / "index.js", "")
    write(tmp_path / "run", "", 0o700)
    write(tmp_path / "_left-out.py", "")
    write(tmp_path / "README", "")
    servers = {server.name: server for server in discovered_servers(Path(tmp_path.name), {})}
    assert servers["script"].command[1] == str(tmp_path / "script" / "index.js")
    assert {name: server.command[0] for name, server in servers.items()} == {
        "alone": "uv",
        "entry": "node",
        "notes": "python3",
        "run": str(tmp_path / "run"),
        "script": "node",
        "web": "npx",
    }


@pytest.mark.parametrize(
    "place", ["", "entry.yaml", "script.py", "run", "web", "web/server.json", "main/main.py"]
)
def test_what_others_could_have_written_is_not_started(tmp_path: Path, place: str) -> None:
    write(tmp_path / "entry.yaml", "command: node\n")
    write(tmp_path / "script.py", "")
    write(tmp_path / "run", "", 0o700)
    write(tmp_path / "web" / "server.json", json.dumps({"command": "npx"}))
    write(tmp_path / "main" / "main.py", "")
    open_path = tmp_path / place
    open_path.chmod(0o777)
    with pytest.raises(PolicyError, match="chmod go-w"):
        discovered_servers(tmp_path, {})


def test_a_file_that_cannot_be_read_whole_is_refused(tmp_path: Path) -> None:
    large = write(tmp_path / "large.yaml", "#" * (MOST_BYTES + 1))
    latin = write(tmp_path / "latin.yaml", "")
    latin.write_bytes("command: Grüße".encode("latin-1"))
    for path, why in ((large, "larger than"), (latin, "UTF-8"), (tmp_path, "not a regular file")):
        with pytest.raises(PolicyError, match=why):
            read_own_text(str(path))
