"""A server's name from its command, for commands that people write in configurations."""

import re
import shlex
from pathlib import Path

import pytest

from pipeguard.identity.server_name import identify_remote, identify_server
from pipeguard.identity.things import KINDS

HERE = Path(__file__).parent


def read_groups(name: str) -> list[list[str]]:
    """Return the groups of lines of a file, without comments."""
    text = re.sub(r"^#.*\n", "", (HERE / f"{name}.txt").read_text("utf-8"), flags=re.MULTILINE)
    return [group.splitlines() for group in re.split(r"\n{2,}", text.strip())]


NAMES = [line.split("\t") for group in read_groups("names") for line in group]
THINGS = [line.split("\t") for group in read_groups("things") for line in group]


def words(command: str) -> list[str]:
    """Split words as a shell does, but keep the backslashes of Windows."""
    parts = re.findall(r"'[^']*'|\S+", command.replace("\\\\", "\\"))
    return [part.strip("'") for part in parts]


@pytest.mark.parametrize(("name", "command"), NAMES, ids=[command for _, command in NAMES])
def test_a_command_has_the_name_that_a_person_would_give_it(command: str, name: str) -> None:
    found = identify_server(words(command)).name
    pattern = re.escape(name).replace(r"\*", "[0-9a-f]{6}")
    assert re.fullmatch(pattern, found), found


@pytest.mark.parametrize(("command", "things"), THINGS, ids=[command for command, _ in THINGS])
def test_a_command_launches_all_of_these(command: str, things: str) -> None:
    found = identify_server(shlex.split(command.replace("\\", "\\\\")), "/srv/run").things
    assert found == tuple(things.split(", "))


@pytest.mark.parametrize("command", [command for _, command in NAMES])
def test_whatever_is_launched_is_of_a_kind_that_a_policy_may_name(command: str) -> None:
    things = identify_server(words(command)).things
    assert things
    assert {thing.partition(" ")[0] for thing in things} <= KINDS


def test_a_path_is_also_where_its_links_lead(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    things = {f"path {tmp_path}/link/x", f"path {tmp_path.resolve()}/real/x"}
    assert {*identify_server([f"{tmp_path}/link/x"]).things} == things
    assert {*identify_server(["node", "link/x"], str(tmp_path)).things} == things


def test_the_same_command_has_the_same_name_and_another_path_another() -> None:
    one, other = ["node", "/srv/a/index.js"], ["node", "/srv/b/index.js"]
    assert identify_server(one).name == identify_server([*one, "--port", "1"]).name
    assert identify_server(one).name != identify_server(other).name


def test_where_it_is_started_does_not_change_the_name_of_an_absolute_path(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identify_server(["node", "/srv/a/index.js"]).name
    monkeypatch.chdir(str(tmp_path))
    assert identify_server(["node", "/srv/a/index.js"]).name == before


def test_a_name_is_short_and_harmless_in_a_shell_and_a_file() -> None:
    for word in ("a" * 300, "$(x);`y`|\n\x1b[1m", "-rf", "..", "é漢字\u202e", "a/../../b"):
        assert re.fullmatch(r"\w[\w.-]{0,59}", identify_server([word]).name, re.UNICODE), word


@pytest.mark.parametrize("commands", read_groups("same"), ids=lambda row: row[0])
def test_one_server_is_the_same_however_it_is_started(commands: list[str]) -> None:
    assert len({identify_server(words(command)).identity for command in commands}) == 1


@pytest.mark.parametrize("commands", read_groups("different"), ids=lambda row: row[0])
def test_different_servers_are_told_apart(commands: list[str]) -> None:
    assert len({identify_server(words(command)).identity for command in commands}) == len(commands)


def test_an_address_is_the_same_behind_a_proxy_and_without_one() -> None:
    behind = identify_server(words("npx -y mcp-remote https://a.example.com/mcp"))
    assert behind.identity == identify_remote("https://a.example.com/mcp", "a").identity
    assert (
        behind.identity == identify_remote("wss://me:secret@A.example.com/ws?token=1", "a").identity
    )


def test_a_module_of_the_folder_is_that_folder_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "server.py").touch()
    one, two = (
        identify_server(["python", "-m", "server"], str(tmp_path / n)) for n in ("one", "two")
    )
    assert one.identity != two.identity
    installed = [
        identify_server(["python", "-m", "mail"], str(tmp_path / n)) for n in ("one", "two")
    ]
    assert installed[0].identity == installed[1].identity


@pytest.mark.parametrize(
    "command",
    ["fastmcp run server.py:app", "mvn exec:java", "perl serve.pl", "sh run.sh", "mise run x"],
)
def test_what_a_folder_s_files_say_is_that_folder_s(command: str) -> None:
    one, two = (identify_server(words(command), folder) for folder in ("/srv/one", "/srv/two"))
    assert one.identity != two.identity


@pytest.mark.parametrize(
    "command", ["weather --city Oslo", "uvx mcp-server-git", "python -m pkg x"]
)
def test_what_is_installed_is_the_same_in_every_folder(command: str) -> None:
    one, two = (identify_server(words(command), folder) for folder in ("/srv/one", "/srv/two"))
    assert one.identity == two.identity


def test_what_is_told_holds_no_secret() -> None:
    told = identify_remote("https://me:hunter2@a.example.com/mcp?api_key=hunter2", "a").description
    assert told == "url a.example.com"


def test_strange_words_are_read_all_the_same() -> None:
    for command in (
        [""],
        ["npx", ""],
        ["docker"],
        ["docker", "run"],
        ["docker", "compose"],
        ["uvx", "--from"],
        ["ssh"],
        ["bash", "-c"],
        ["bash", "-c", ""],
        ["op", "--"],
        ["--"],
        ["python", "-m"],
        ["npx"] * 20_000,  # a line of a repository, which `assess` reads
        ["x", "--"] * 40,
        ["timeout"],
    ):
        assert identify_server(command).name


def test_a_word_that_no_encoding_has_is_named_too() -> None:
    assert (
        identify_server(["npx", "@", "\ud800"]).name != identify_server(["npx", "@", "\udc80"]).name
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv"], False),
        (["npx", "mcp-remote", "https://a.example/mcp"], True),
        (["uvx", "mcp-proxy", "http://127.0.0.1:8000/sse"], False),
        (["ssh", "host", "server"], True),
    ],
)
def test_a_command_that_leads_elsewhere_is_told(command: list[str], *, expected: bool) -> None:
    assert identify_server(command).is_elsewhere is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000/mcp", False),
        ("http://[::1]:8000/mcp", False),
        ("https://127.0.0.1/mcp?a=1", False),
        ("https://localhost.evil.example/mcp", True),
        ("http://10.0.0.5/mcp", True),
        ("https://127.0.0.1.evil.example/", True),
    ],
)
def test_an_address_is_here_only_on_the_loopback(url: str, *, expected: bool) -> None:
    assert identify_remote(url, "a").is_elsewhere is expected
