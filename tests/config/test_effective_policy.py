"""The policy of a run: the existing files, and how they are combined."""

import datetime
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.cli.policy import EXAMPLE
from pipeguard.config.effective_policy import combine_sources, wrap_record
from pipeguard.config.options import WrapOptions
from pipeguard.config.policy_file import PolicyScope, RecordSettings
from pipeguard.config.user_policy import project_policy_path, user_policy_path, usual_policy_path
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Mode, Policy, Trust
from pipeguard.rulebook.policy_rules import load_wrap_policy
from tests.config.test_policy_file import NOW, exception, parse, subject


def test_no_file_is_the_default(home: Path) -> None:
    assert home.is_dir()
    assert load_wrap_policy(WrapOptions((), {}, {}, [])) == Policy()


PROJECTS = st.fixed_dictionaries(
    {},
    optional={
        "trust": st.just("review"),
        "actions": st.lists(
            st.fixed_dictionaries(
                {"action": st.sampled_from(["warn", "redact", "block"])},
                optional={
                    "rule": st.sampled_from(["secrets.*", "*", "injection.*"]),
                    "tool": st.sampled_from(["search", "se*", "*"]),
                },
            ),
            max_size=3,
        ),
        "tools": st.fixed_dictionaries(
            {}, optional={"allow": st.just(["s*"]), "block": st.just(["x*", "search"])}
        ),
    },
)


@given(
    PROJECTS,
    st.sampled_from(["actions: [{rule: '*', action: allow}]", "", EXAMPLE]),
    st.sampled_from([scope for scope in PolicyScope if scope is not PolicyScope.USER]),
)
def test_with_another_source_nothing_passes_that_did_not_before(
    project: dict[str, object], user: str, scope: PolicyScope
) -> None:
    files = {PolicyScope.USER: parse(user)}
    alone = combine_sources(files)
    both = combine_sources({**files, scope: parse(yaml.safe_dump(project), scope)})
    for tool in ("search", "xray", "other"):
        asked = subject(tool=tool)
        assert both.action(asked, NOW) >= alone.action(asked, NOW)
        assert alone.calls(tool) or not both.calls(tool)


# --- where the files stand -------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PIPEGUARD_POLICY", raising=False)
    return tmp_path


def test_the_users_file_is_the_usual_one_where_it_exists(home: Path) -> None:
    usual = Path(usual_policy_path())
    assert user_policy_path() is None
    usual.parent.mkdir(parents=True)
    usual.write_text("mode: observe")
    assert user_policy_path() == str(usual)
    assert usual.is_relative_to(home)


def test_the_environment_names_another_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPEGUARD_POLICY", str(home / "p.yaml"))
    assert user_policy_path() == str(home / "p.yaml")
    with pytest.raises(PolicyError, match="cannot be read"):
        load_wrap_policy(WrapOptions((), {}, {}, []))


def test_the_nearest_project_file_counts_and_none_above_the_home_folder(home: Path) -> None:
    inner = home / "user" / "code" / "project" / "src"
    inner.mkdir(parents=True)
    (home / ".pipeguard.yaml").touch()
    assert project_policy_path(str(inner)) == str(home / ".pipeguard.yaml")
    (inner.parent / ".pipeguard.yaml").touch()
    assert project_policy_path(str(inner)) == str(inner.parent / ".pipeguard.yaml")


def test_the_search_ends_at_the_home_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".pipeguard.yaml").touch()
    inner = home / "user" / "project"
    inner.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home / "user"))
    monkeypatch.setenv("USERPROFILE", str(home / "user"))
    assert project_policy_path(str(inner)) is None


def options(*flags: str, **values: str) -> WrapOptions:
    return WrapOptions(["x"], {f"--{name}": value for name, value in values.items()}, {}, flags)


def test_options_stand_above_the_users_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    policy = home / "p.yaml"
    policy.write_text("trust: review")
    assert load_wrap_policy(options(policy=str(policy))).trust is Trust.REVIEW
    asked = options("--observe", policy=str(policy), trust="first-use")
    assert load_wrap_policy(asked).trust is Trust.FIRST_USE
    assert load_wrap_policy(asked).mode is Mode.OBSERVE


def test_a_projects_file_tightens_options_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / ".pipeguard.yaml").write_text("mode: enforce\ntrust: review")
    policy = load_wrap_policy(options("--observe", trust="first-use"))
    assert (policy.mode, policy.trust) == (Mode.ENFORCE, Trust.REVIEW)


def test_an_unknown_trust_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(PolicyError, match="--trust never: choose from first-use, review"):
        load_wrap_policy(options(trust="never"))


def test_wrap_takes_an_exception_to_end_at_midnight(home: Path) -> None:
    usual = Path(usual_policy_path())
    usual.parent.mkdir(parents=True)
    now = datetime.datetime.now()  # noqa: DTZ005  the user's own calendar
    usual.write_text(exception(str(now.date())))
    (exempt,) = load_wrap_policy(options()).layers[0].exceptions
    midnight = datetime.datetime.combine(now.date(), datetime.time()) + datetime.timedelta(days=1)
    left_seconds = midnight.timestamp() - now.timestamp()
    assert exempt.until == pytest.approx(time.monotonic() + left_seconds, abs=5)


# --- what the documents say ------------------------------------------------------------------


def test_sessions_are_recorded_where_an_option_or_the_users_file_says(home: Path) -> None:
    policy = str(home / "p.yaml")
    Path(policy).write_text("record: {folder: r, file: 1 MiB, total: 3 MiB, keep: 2 w}")
    limits = 2**20, 3 * 2**20, 14
    for asked, settings in (
        (options(), None),
        (options(record="x"), RecordSettings("x", 2**26, 2**30, 30)),
        (options(policy=policy), RecordSettings(f"{home}/r", *limits)),
        (options(policy=policy, record="x"), RecordSettings("x", *limits)),
    ):
        assert wrap_record(asked) == settings
    Path(policy).write_text("record: {folder: ~/r, keep: forever}")
    assert wrap_record(options(policy=policy)) == RecordSettings(f"{home}/r", keep_days=0)
    for text in ("{}", "{folder: r, keep: 0 d}", "{folder: r, file: 1 KiB}", "{folder: []}"):
        with pytest.raises(PolicyError, match="has one error"):
            parse(f"record: {text}")
