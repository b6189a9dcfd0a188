"""Two servers that want one name: neither gets the other's grants."""

import re
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli.isolate import command
from tests.isolation.test_escapes import answering
from tests.isolation.test_wrapped import REACHER, Isolated
from tests.launch.processes import until
from tests.wrap.deciding import decide

pytestmark = pytest.mark.needs("bubblewrap")


def namesake(folder: Path) -> tuple[str, ...]:
    """The command of another server that reaches for the same."""
    copied = folder / "other" / "reacher.py"
    copied.parent.mkdir(exist_ok=True)
    copied.write_bytes(Path(REACHER[-1]).read_bytes())
    return (sys.executable, "-I", "-u", str(copied))


def test_what_the_second_is_allowed_is_its_own_after_a_restart_too(tmp_path: Path) -> None:
    policy = "isolate:\n- {server: 'reacher*'}\n"
    environment = {"PIPEGUARD_POLICY": str(tmp_path / "policy.yaml")}
    other = namesake(tmp_path)
    with answering(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        with Isolated(tmp_path, policy=policy) as first:
            first.ready()
        with Isolated(tmp_path, command=other, policy=policy) as second:
            assert "403 Forbidden" in second.ready().call("proxied", target)
            until(lambda: "pipeguard allow " in second.said(), "the refusal is told")
            words = re.findall(r"'pipeguard (allow [^']+)'", second.said())[0].split()
            code, shown = decide(tmp_path / "state", *words, environment=environment)
            assert code == 0, shown
            until(lambda: "reached" in second.call("proxied", target), "the host is given")
        written = (tmp_path / "policy.yaml").read_text()
        assert re.search(r"server: reacher-[0-9a-f]{6}", written)
        with Isolated(tmp_path, command=other, policy=written) as second:
            assert "reached" in second.ready().call("proxied", target)
        with Isolated(tmp_path, policy=written) as first:
            assert "403 Forbidden" in first.ready().call("proxied", target)


@pytest.mark.often("by policy")
@pytest.mark.parametrize("option", [(), ("--isolate", "auto")], ids=["by policy", "by option"])
def test_a_namesake_is_isolated_and_gets_nothing_of_the_other(
    tmp_path: Path, option: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = "isolate:\n- {server: reacher, read: [~/notes]}\n"
    note = tmp_path / "home" / "notes" / "one"
    with Isolated(tmp_path, *option, policy=policy) as first:
        assert first.ready().call("read", note) == "first note"
    with Isolated(tmp_path, *option, command=namesake(tmp_path), policy=policy) as second:
        assert second.ready().call("read", note) == "FileNotFoundError"
        assert second.call("read", tmp_path / "home" / "diary") == "FileNotFoundError"
    assert "another server already has the name reacher" in second.said()
    with monkeypatch.context() as patched:
        patched.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
        patched.setenv("PIPEGUARD_POLICY", str(tmp_path / "policy.yaml"))
        (name,) = set(re.findall(r"recorded as (reacher-[0-9a-f]{6})", second.said()))
        shown = " ".join(CliRunner().invoke(command, ["show", name]).output.split())
        assert shown.startswith(name)
    assert ("is given nothing that" in second.said()) == (not option)
