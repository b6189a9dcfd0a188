"""The machine's policy and the organisation's bundle: read strictly, and only to tighten."""

import os
import time
from pathlib import Path

import pytest

from pipeguard.config import enrolment
from pipeguard.config.enrolment import find_enrolment
from pipeguard.config.options import WrapOptions
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Mode, Policy
from pipeguard.rulebook.policy_rules import load_wrap_policy
from tests.bundles import enrol, make_token

NOW = int(time.time())
IS_ROOT = os.name == "posix" and os.geteuid() == 0


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder; the user's is `own`, and the current one has no project."""
    monkeypatch.setattr(enrolment, "system_folder", lambda: str(tmp_path / "system"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "system"


def load(*flags: str, **values: str) -> Policy:
    return load_wrap_policy(
        WrapOptions(["x"], {f"--{name}": value for name, value in values.items()}, {}, flags)
    )


@pytest.mark.skipif(not IS_ROOT, reason="only an administrator may own these files")
def test_nothing_of_the_users_opens_what_the_others_close(system: Path, tmp_path: Path) -> None:
    system.mkdir()
    (system / "policy.yaml").write_text("tools: {block: [drop_*]}\n")
    enrol(system, make_token("servers: {block: ['npm evil']}\ntrust: review\n"))
    user = tmp_path / "loose.yaml"
    user.write_text(
        "mode: observe\ntools: {allow: ['*']}\nservers: {allow: ['*']}\n"
        "actions: [{action: allow}]\n"
    )
    user.chmod(0o600)
    policy = load("--observe", policy=str(user), trust="first-use")
    assert (policy.mode, policy.trust.value) == (Mode.ENFORCE, "review")
    assert policy.find_refusal("drop_table") == "the machine's policy"
    assert "the organisation's policy" in policy.explain_stop(("npm evil",))
    assert not policy.explain_stop(("npm good",))


@pytest.mark.skipif(not IS_ROOT, reason="only an administrator may own these files")
@pytest.mark.parametrize("name", ["policy.yaml", "bundles.jws", ""])
def test_nothing_starts_if_another_may_write_what_an_administrator_decides(
    system: Path, name: str
) -> None:
    enrol(system, make_token())
    (system / "policy.yaml").write_text("mode: enforce\n")
    assert load().mode is Mode.ENFORCE
    (system / name).chmod(0o777)
    with pytest.raises(PolicyError, match="everybody may write to"):
        load()


def test_the_machines_enrolment_is_before_the_users(system: Path, tmp_path: Path) -> None:
    own = tmp_path / "own" / "pipeguard"
    assert find_enrolment() is None
    enrol(own, make_token("tools: {block: [x]}\n"))
    assert not load().calls("x")
    enrol(system)
    assert find_enrolment() == (str(system / "follow.yaml"), True)
    with pytest.raises(PolicyError, match="there is none yet"):
        load()


@pytest.mark.usefixtures("system")
def test_a_user_who_lost_the_bundle_starts_nothing(tmp_path: Path) -> None:
    bundles = enrol(tmp_path / "own" / "pipeguard", make_token())
    assert load().calls("x")
    for content in (b"\n", b"\xff", b"a.b", b"a.b.c\n", make_token(version=0).encode()):
        bundles.write_bytes(content)
        with pytest.raises(PolicyError, match=r"bundles\.jws"):
            load()


@pytest.mark.parametrize(
    ("claims", "stops"),
    [
        ({"exp": NOW - 9}, False),
        ({"exp": NOW - 9, "after_expiry": "block"}, True),
        ({"iat": NOW + 2 * 86_400, "after_expiry": "block"}, True),
    ],
)
@pytest.mark.usefixtures("system")
def test_an_ended_bundle_stays_in_force_or_stops_all(
    tmp_path: Path, claims: dict[str, object], stops: bool
) -> None:
    enrol(tmp_path / "own" / "pipeguard", make_token("tools: {block: [x]}\n", **claims))
    policy = load()
    assert bool(policy.explain_stop(("npm good",))) is stops
    assert stops or not policy.calls("x")
