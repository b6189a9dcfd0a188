"""The variables that a server gets: launch/environment.py."""

import os
import sys
from pathlib import Path

import pytest

from pipeguard.errors import LaunchError
from pipeguard.launch.environment import child_environment, parent_environment
from tests.commands import run_command

REPOSITORY = Path(__file__).parents[2]
BASICS = {"HOME": "/home/u", "PATH": "/bin", "USER": "u", "SHELL": "/bin/sh", "TERM": "xterm"}
SESSION = {"SHLVL": "1", "PWD": "/home/u", "_": "/usr/bin/client", "COLORTERM": "truecolor"}
DESKTOP = {**BASICS, **SESSION, "CLIENT_TOKEN": "of the client"}


def test_a_client_that_selects_has_all_that_it_selected_passed() -> None:
    ours = {**BASICS, "API_KEY": "k", "CLIENT_TOKEN": "of the client"}
    for parent in (DESKTOP, None):
        assert child_environment(ours, parent).variables == ours


def test_a_client_that_passes_all_has_only_what_differs_passed() -> None:
    ours = {**DESKTOP, "API_KEY": "k", "CLIENT_TOKEN": "another", "OTHER_SECRET": "s"}
    got = child_environment(ours, {**DESKTOP, "OTHER_SECRET": "s"})
    assert got.variables == {**BASICS, "API_KEY": "k", "CLIENT_TOKEN": "another"}


def test_a_client_without_a_session_is_taken_at_its_differences() -> None:
    service = {**BASICS, "SERVICE_TOKEN": "of the client"}
    got = child_environment({**service, "API_KEY": "k"}, service)
    assert got.variables == {**BASICS, "API_KEY": "k"}
    unknown = child_environment({**DESKTOP, "API_KEY": "k"}, None)
    assert unknown.variables == BASICS, "cut to what is allowed"


@pytest.mark.parametrize("parent", [None, DESKTOP])
def test_a_clients_import_variables_reach_the_server(parent: dict[str, str] | None) -> None:
    ours = {**BASICS, "PYTHONPATH": "/server/lib"}
    assert child_environment(ours, parent).variables["PYTHONPATH"] == "/server/lib"
    client = {**DESKTOP, "PYTHONPATH": "/client/lib"}
    assert "PYTHONPATH" not in child_environment(client, client).variables


def test_what_programs_need_is_passed_and_what_leads_to_the_session_is_withheld() -> None:
    needed = ("LANG", "LC_TIME", "TZ", "TMPDIR", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SYSTEMROOT")
    secret = ("XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY")
    ours = DESKTOP | dict.fromkeys((*needed, *secret), "value")
    assert set(child_environment(ours, ours).variables) == {*BASICS, *needed}


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy", "no_proxy"])
def test_a_proxy_is_passed_unless_it_holds_a_password(name: str) -> None:
    plain = {**DESKTOP, name: "http://proxy.example:3128"}
    assert name in child_environment(plain, plain).variables
    secret = {**DESKTOP, name: "http://user:word@proxy.example:3128"}
    assert name not in child_environment(secret, secret).variables


def test_a_shell_function_is_passed_by_nothing_but_a_wish() -> None:
    ours = {**DESKTOP, "TERM": "() { :; }", "BASH_FUNC_f%%": "() { :; }"}
    assert not {"TERM", "BASH_FUNC_f%%"} & set(child_environment(ours, DESKTOP).variables)
    assert child_environment(ours, DESKTOP, extra=["TERM"]).variables["TERM"] == "() { :; }"


def test_more_is_passed_by_name_and_by_value() -> None:
    ours = {**DESKTOP, "KEPT": "a=b"}
    got = child_environment(ours, ours, extra=["KEPT", "NEW=x=y", "HOME=", "ABSENT"])
    assert got.variables["KEPT"] == "a=b"
    assert got.variables["NEW"] == "x=y"
    assert got.variables["HOME"] == ""
    assert got.missing == ("ABSENT",)


@pytest.mark.parametrize("entry", ["=secret", "", "PIPEGUARD_H1", "pipeguard_h1=secret"])
def test_a_wish_without_a_name_or_for_ours_is_refused_without_its_value(entry: str) -> None:
    with pytest.raises(LaunchError) as caught:
        child_environment(BASICS, None, extra=[entry])
    assert caught.value.exit_code == 2
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("inherit_all", [False, True])
@pytest.mark.parametrize("ours", [BASICS, DESKTOP])
def test_our_own_variables_never_reach_a_server(ours: dict[str, str], *, inherit_all: bool) -> None:
    mine = {**ours, "PIPEGUARD_H1": "Authorization: x", "Pipeguard_Config": "y"}
    for parent in (None, DESKTOP, mine):
        got = child_environment(mine, parent, inherit_all=inherit_all)
        assert not any(name.upper().startswith("PIPEGUARD") for name in got.variables)


@pytest.mark.parametrize("inherit_all", [False, True])
def test_what_leads_to_the_shared_store_is_kept_from_servers(*, inherit_all: bool) -> None:
    ours = dict.fromkeys(("PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "PGHOST"), "x")
    without = child_environment(ours, {}, inherit_all=inherit_all)
    assert without.variables == ours
    shared = {**ours, "PIPEGUARD_STORE": "postgresql://host/store"}
    given = child_environment(shared, {}, extra=["PGPASSWORD=its own"], inherit_all=inherit_all)
    assert given.variables == {"PGHOST": "x", "PGPASSWORD": "its own"}


def test_all_is_passed_on_demand() -> None:
    assert child_environment(DESKTOP, DESKTOP, inherit_all=True).variables == DESKTOP


def test_an_environment_shows_names_only() -> None:
    assert "of the client" not in repr(child_environment(DESKTOP, None, inherit_all=True))


def seen_from(argv: list[str], environment: dict[str, str]) -> list[str]:
    """List our names among those that a process, started like this, takes for its client's."""
    source = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from pipeguard.launch.environment import parent_environment as read\n"
        "print(*(name for name in read() or ['nothing'] if name in "
        "('OF_CLIENT', 'OF_ENTRY', 'nothing')))"
    )
    inner = [sys.executable, "-I", "-c", source]
    # The client: passes its own environment and, as an entry's `env` block would, OF_ENTRY.
    client = (
        "import os, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], env={**os.environ, 'OF_ENTRY': 'x'})\n"
        "sys.exit(done.returncode)"
    )
    done = run_command(
        [sys.executable, "-I", "-c", client, *argv, *inner], env=environment, check=True
    )
    return done.stdout.split()


def test_the_environment_of_the_client_is_read() -> None:
    assert seen_from([], {"OF_CLIENT": "x", "PATH": os.environ["PATH"]}) == ["OF_CLIENT"]


def test_a_starter_between_the_client_and_us_is_stepped_over() -> None:
    starter = ["sh", "-c", '"$@"; true', "sh"]
    assert seen_from(starter, {"OF_CLIENT": "x", "PATH": os.environ["PATH"]}) == ["OF_CLIENT"]


EXPORTS = (
    f'export EXPORTED=x\n"{sys.executable}" -I -c "'
    f"import os, sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
    "from pipeguard.launch.environment import child_environment, parent_environment\n"
    "print('EXPORTED' in child_environment(os.environ, parent_environment()).variables)"
    '"\ntrue\n'
)


def reach_server(argv: list[str], typed: str) -> str:
    """Return whether variables that a shell exported reach the server that it starts."""
    environment = {**SESSION, "PATH": os.environ["PATH"]}
    done = run_command(argv, input=typed, env=environment, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("options", ["", "--rcfile /dev/null", "--init-file /dev/null -O extglob"])
def test_for_a_person_at_a_shell_nothing_was_put_there(options: str, tmp_path: Path) -> None:
    """The shell reads its commands from its standard input, as from a terminal."""
    script = tmp_path / "start"
    script.write_text(EXPORTS)
    shell = ["bash", *options.split()]
    assert reach_server(shell, EXPORTS) == "False"
    assert reach_server(shell, f"bash {script}\n") == "False"


def test_what_a_script_exports_that_a_program_starts_was_put_there(tmp_path: Path) -> None:
    script = tmp_path / "start"
    script.write_text(EXPORTS)
    for words in ([str(script)], ["-c", EXPORTS], ["-o", "errexit", str(script)]):
        assert reach_server(["bash", *words], "") == "True"


def test_an_environment_that_cannot_be_read_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", lambda: 0)  # the parent is outside this pid namespace
    assert parent_environment() is None
