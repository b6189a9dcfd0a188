"""Agents that never ask: clients' settings that let calls run unseen."""

import re
from pathlib import Path

import pytest

from tests.assess.places import Entry, machine, of, repository
from tests.files import write_file

ONE = {"one": {"command": "srv"}}
UNASKED = (
    (".claude/settings.json", '{"permissions": {"defaultMode": "bypassPermissions"}}'),
    (".claude/settings.json", '{"permissions": {"allow": ["Read", "Bash(*)"]}}'),
    (".claude/settings.json", '{"enableAllProjectMcpServers": true}'),
    (".codex/config.toml", 'approval_policy = "never"\n'),
    (".config/goose/config.yaml", "GOOSE_MODE: auto\n"),
    (".config/Code/User/settings.json", '{\n// mine\n"chat.tools.global.autoApprove": true,\n}'),
    (".qwen/settings.json", '{"tools": {"approvalMode": "yolo"}}'),
    (".config/zed/settings.json", '{"agent": {"tool_permissions": {"default": "allow"}}}'),
    (".config/opencode/opencode.json", '{"permission": "allow"}'),
)
_VALUES = (
    *("true", '"never"', '"yolo"', '"unrestricted"', '"always-approve"', '"allow"', '"Bash(*)"'),
    *('"bypassPermissions"', '"danger-full-access"', "auto\n"),
)


@pytest.mark.parametrize(("file", "text"), UNASKED)
def test_an_agent_that_asks_nobody_is_found(tmp_path: Path, file: str, text: str) -> None:
    path = write_file(tmp_path / file, text)
    (found,) = of(machine(tmp_path, ONE), "agent-runs-unasked")
    assert found.file == path
    word = re.split(r"[.\s]", found.key)[-1]
    assert word in text.splitlines()[found.line - 1]
    for value in _VALUES:
        text = re.sub(rf"(?<=[\s:=\[]){re.escape(value)}", '"ask"', text)
    path.write_text(text)
    assert of(machine(tmp_path, ONE), "agent-runs-unasked") == []


def test_a_server_whose_tools_are_all_called_unasked_is_found(tmp_path: Path) -> None:
    servers: dict[str, Entry] = {
        "trust": {"command": "a", "trust": True},
        "all": {"command": "b", "autoApprove": ["*"]},
        "one": {"command": "c", "autoApprove": ["read"]},
    }
    target = machine(tmp_path, servers)
    assert {one.server for one in of(target, "agent-runs-unasked")} == {"trust", "all"}


def test_a_repository_is_asked_for_its_own_settings_only(tmp_path: Path) -> None:
    for folder in (tmp_path / "repository", tmp_path / "repository/home"):
        (folder / ".claude").mkdir(parents=True)
        (folder / ".claude/settings.json").write_text(UNASKED[0][1])
    (found,) = of(repository(tmp_path / "repository", {}), "agent-runs-unasked")
    assert found.file == tmp_path / "repository/.claude/settings.json"
