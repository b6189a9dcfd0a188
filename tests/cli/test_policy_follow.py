"""`pipeguard policy bundle` and `follow`: an administrator signs, and a person enrols a machine."""

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.config.bundle import read_token
from pipeguard.identity.server_name import identify_server
from pipeguard.installation import EXTRAS
from pipeguard.state import review
from pipeguard.state.store import open_store
from tests.administered import administer
from tests.bundles import STOPS_ALL, Signer, Site
from tests.commands import run_command
from tests.forking import PIPEGUARD, start
from tests.launch.processes import until
from tests.people import be_nobody, give_token, on_terminal, run_here
from tests.state.samples import FORECAST, POISONED, held, seen

ONE = Signer()
SIGN = ("policy", "bundle", "policy.yaml", "--key", "key", "--version", "7", "--out", "out.jws")
FOLLOW = ("policy", "follow")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An administrator's folder with a policy, and a machine of a person."""
    be_nobody(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setattr("pipeguard.config.enrolment.system_folder", lambda: str(tmp_path / "etc"))
    (tmp_path / "policy.yaml").write_text(STOPS_ALL)
    (tmp_path / "key.pub").write_text(json.dumps(ONE.jwk))
    return tmp_path


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(ONE.sign(2)) as site:
        yield site


def make_key() -> None:
    Path("key.pub").unlink()
    assert run_here("policy", "bundle", "--new-key", "key").returncode == 0


def enrolled() -> list[str]:
    return sorted({path.name for path in Path("config").glob("pipeguard/*")} - {"follow.lock"})


def test_a_key_is_made_once_and_signs_what_a_person_approved() -> None:
    make_key()
    assert stat.S_IMODE(Path("key").stat().st_mode) == 0o600
    again = run_here("policy", "bundle", "--new-key", "key")
    assert (again.returncode, "key cannot be written: File exists" in again.stderr) == (2, True)
    with open_store() as store:
        store.remember("weather", [seen(FORECAST), held(POISONED)])
        store.name_server("weather", identify_server(["npx", "-y", "@scope/weather"]))
    refused = run_here(*SIGN, "--approved", "weather")
    assert (refused.returncode, "no person has approved" in refused.stderr) == (2, True)
    with open_store() as store:
        [waiting] = review.held_definitions(store)
        assert store.approve("weather", waiting.pin)
        fingerprint = waiting.pin.held_fingerprint
    more = ("--expires", "30d", "--after-expiry", "block")
    done = run_here(*SIGN, *more, "--approved", "weather", "--accept", "key.pub")
    assert (done.returncode, done.stderr) == (0, "")
    kid, bundle = read_token(Path("out.jws").read_text())
    assert kid == json.loads(Path("key.pub").read_text())["kid"]
    assert bundle.approved == [f"npm @scope/weather {fingerprint}"]
    assert bundle.policy == STOPS_ALL
    assert (bundle.version, bundle.after_expiry, len(bundle.keys)) == (7, "block", 1)
    assert bundle.exp == bundle.iat + 30 * 86_400
    shown = run_here("policy", "bundle", "--show", "out.jws")
    assert (shown.returncode, shown.stderr) == (0, "Its signature was not verified.\n")
    assert f"kid          {kid}\n" in shown.stdout
    as_json = json.loads(run_here("policy", "bundle", "--show", "out.jws", "--json").stdout)
    assert (as_json["version"], as_json["keys"][0]["kid"]) == (7, kid)
    assert stat.S_IMODE(Path("out.jws").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("policy.yaml", "mode: observe", "mode: the organisation's file may only tighten"),
        ("policy.yaml", "actions: [{rule: injction.x, action: block}]", "actions[0].rule"),
        ("key", "secret words", "key is not a private Ed25519 key in PEM"),
        ("other.pub", '{"kty": "OKP", "d": "secret"}', "other.pub is not a public key"),
    ],
)
def test_a_wrong_bundle_is_not_written(name: str, text: str, words: str, folder: Path) -> None:
    make_key()
    (folder / name).write_text(text)
    accept = ("--accept", name) if name == "other.pub" else ()
    done = run_here(*SIGN, *accept)
    assert (done.returncode, words in done.stderr, "secret" in done.stderr) == (2, True, False)
    assert not (folder / "out.jws").exists()


@pytest.mark.needs("terminal")
def test_a_person_enrols_and_leaves(site: Site) -> None:
    words = ("follow", site.url, "--key", str(Path("key.pub").absolute()))
    assert run_here("policy", *words).returncode == 2  # no terminal
    code, shown = on_terminal("policy", "", *words, number="nothing")
    assert (code, f"To follow {site.url}, version 2, type " in shown) == (1, True)
    assert enrolled() == []
    assert on_terminal("policy", "", *words)[0] == 0
    files = ["bundles.jws", "follow-problem.txt", "follow.yaml"]
    assert enrolled() == files
    status = run_here(*FOLLOW, "--status", "--json")
    fields = json.loads(status.stdout)
    assert (status.returncode, fields["version"], fields["problem"]) == (0, 2, "")
    assert (fields["kid"], fields["is_managed"]) == (ONE.jwk["kid"], False)
    site.content = "<!DOCTYPE html>"
    once = run_here(*FOLLOW, "--once")
    assert (once.returncode, "one compact JWS" in once.stderr) == (1, True)
    status = run_here(*FOLLOW, "--status")
    assert (status.returncode, "the last fetch failed: " in status.stdout) == (0, True)
    assert run_here(*FOLLOW, "--stop").returncode == 2
    assert on_terminal("policy", "", "follow", "--stop", number="nothing")[0] == 1
    assert set(files) <= {*enrolled()}
    assert on_terminal("policy", "", "follow", "--stop")[0] == 0
    assert set(files).isdisjoint(enrolled())
    assert run_here(*FOLLOW, "--status").returncode == 1


def test_a_first_fetch_that_fails_enrols_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_token(monkeypatch)
    words = (*FOLLOW, site.url, "--key", "key.pub")
    site.content = Signer().sign(2)
    done = run_here(*words)
    assert (done.returncode, "is not one that may sign" in done.stderr) == (1, True)
    monkeypatch.setenv("CLAUDECODE", "1")
    site.content = ONE.sign(2)
    assert run_here(*words).returncode == 2  # an agent with the token
    monkeypatch.delenv("CLAUDECODE")
    assert enrolled() == ["approval-token"]
    assert run_here(*FOLLOW, site.url, "--key", "key.pub", "--once").returncode == 2
    assert run_here(*FOLLOW, "http://policy.example/", "--key", "key.pub").returncode == 2
    monkeypatch.setitem(EXTRAS, "fleet", ("no_such_module",))
    without = run_here(*words)
    assert (without.returncode, "mcp-pipeguard[fleet]" in without.stderr) == (2, True)


def test_watch_outlives_errors_and_ends_on_a_signal(folder: Path, site: Site) -> None:
    (folder / "config/pipeguard").mkdir(0o700, parents=True)
    (folder / "config/pipeguard/follow.yaml").write_text(ONE.follow(site.url))
    for content, words in (("", "one compact JWS"), (ONE.sign(3), "version 3 of the organisation")):
        site.content = content
        with (folder / "log").open("wb") as log:
            watch = start([*PIPEGUARD, *FOLLOW, "--watch"], stderr=log, env={**os.environ})
        try:
            until(lambda: words in (folder / "log").read_text(), words)  # noqa: B023  at once
        finally:
            watch.send_signal(signal.SIGTERM)
            assert watch.wait(60) == 0


@pytest.mark.needs("bubblewrap")
def test_only_an_administrator_fetches_and_leaves_what_they_enrolled(
    folder: Path, site: Site
) -> None:
    system = folder / "system"
    system.mkdir()
    (system / "follow.yaml").write_text(ONE.follow(site.url))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return run_command(administer(system, [*PIPEGUARD, *FOLLOW, *words]))

    assert (status := run("--status")).returncode == 1, status.stderr
    assert "there is none yet" in status.stdout
    assert (once := run("--once")).returncode == 0, once.stderr
    assert (system / "bundles.jws").read_text() == f"{site.content}\n"
    for name in ("bundles.jws", "follow-problem.txt"):
        assert stat.S_IMODE((system / name).stat().st_mode) == 0o644
    assert stat.S_IMODE((system / "follow.lock").stat().st_mode) == 0o600
    assert run("--status").returncode == 0
    for words in (("--stop",), (site.url, "--key", "key.pub")):
        refused = run(*words)
        assert refused.returncode == 2
        assert "an administrator enrolled this machine: /etc/pipeguard/" in refused.stderr
    system.chmod(0o777)
    assert "everybody may write to /etc/pipeguard, so " in run("--status").stdout
