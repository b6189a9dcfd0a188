"""Faults of tools that rewrite configurations, each as a test on real files."""

import json
import os
import stat
import time
from pathlib import Path

import pytest

from pipeguard.clients import files, history, setting, undoing
from pipeguard.clients.catalog import ConfigScope, client
from pipeguard.clients.entries import GuardState, read_config
from pipeguard.clients.machine import Machine, find, managing_file
from pipeguard.clients.rewrite import GuardOptions
from pipeguard.errors import StateError
from tests.clients.config_file import (
    GUARDED,
    LAUNCHER,
    OPEN,
    config,
    guard,
    plan,
    put,
    put_guarded,
    states,
    undo,
)


def test_a_file_is_guarded_and_given_back(machine: Machine) -> None:
    path = put_guarded(machine)
    assert path.read_text() == GUARDED
    assert undo(machine) == [undoing.UndoMethod.EXACT]
    assert path.read_text() == OPEN
    assert history.records() == []
    assert list(path.parent.iterdir()) == [path]


def test_nothing_to_do_leaves_no_trace(machine: Machine) -> None:
    path = put(machine.home, GUARDED)
    before = path.stat()
    planned = guard(machine)
    assert planned.content is None
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert history.records() == []
    assert sorted(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "// nothing\n",
        '{"mcpServers": {}}',
        '{"mcpServers": null}',
        '{"x": "\\"mcpServers\\": {\\"it\\": {}}"} // "it": {"command": "srv"}',
    ],
)
def test_a_file_without_servers_stays_as_it_is(machine: Machine, content: str) -> None:
    path = put(machine.home, content)
    planned = guard(machine)
    assert planned.servers == ()
    assert path.read_text() == content


def test_the_mode_stays(machine: Machine) -> None:
    path = put(machine.home, OPEN)
    path.chmod(0o664)
    guard(machine)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_a_link_stays_a_link(machine: Machine) -> None:
    real = put(machine.home, OPEN, "dotfiles/cursor.json")
    link = machine.home / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(real)
    guard(machine)
    assert link.is_symlink()
    assert real.read_text() == GUARDED
    undo(machine)
    assert link.is_symlink()
    assert real.read_text() == OPEN


def test_a_link_out_of_the_home_folder_is_refused(machine: Machine, tmp_path: Path) -> None:
    real = put(tmp_path, OPEN, "elsewhere/mcp.json")
    link = machine.home / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(real)
    planned = plan(machine)
    assert "it is a link to" in planned.problem
    assert planned.content is None
    link.unlink()
    link.parent.rmdir()
    link.parent.symlink_to(real.parent)
    assert "it is a link to" in plan(machine).problem, "and so is a linked folder"


def test_a_home_folder_may_be_a_link(machine: Machine, tmp_path: Path) -> None:
    put(machine.home, OPEN)
    linked = tmp_path / "linked"
    linked.symlink_to(machine.home)
    assert plan(Machine("linux", linked, {})).problem == ""


def test_a_file_that_a_variable_names_may_lie_anywhere(tmp_path: Path, home: Path) -> None:
    put(tmp_path, '[mcp_servers.it]\ncommand = "srv"\n', "srv/codex/config.toml")
    machine = Machine("linux", home, {"CODEX_HOME": str(tmp_path / "srv" / "codex")})
    assert plan(machine).content is not None


@pytest.mark.parametrize(("mode", "what"), [(0o400, "file"), (0o500, "folder")])
def test_what_is_write_protected_is_refused(machine: Machine, mode: int, what: str) -> None:
    path = put(machine.home, OPEN)
    target = path if what == "file" else path.parent
    target.chmod(mode)
    try:
        assert "write-protected" in plan(machine).problem
    finally:
        target.chmod(0o700)


def test_a_folder_in_the_place_of_the_file_is_refused(machine: Machine) -> None:
    folder = machine.home / ".cursor" / "mcp.json"
    folder.mkdir(parents=True)
    (folder / "precious").touch()
    assert plan(machine).problem == "it is a folder."
    assert (folder / "precious").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (OPEN.encode("utf-16"), "UTF-16"),
        (b'{"mcpServers": {"it": {"command": "\xff"}}}', "not UTF-8"),
        (OPEN[:-1].encode(), "1 bracket is open, the last one from line 1, column 1."),
        (
            b'{ "mcpServers": {\n "it": { "command": "npx", "args": ["x"] }\n',
            "file ends before it is complete: 2 brackets are open, the last one from line 1, col",
        ),
        (b'{"mcpServers": {"it": {"command": "a"}, "it": {"command": "b"}}}', "is repeated"),
        (b'{"mcpServers": {"f\\u0073": {"command": "a"}, "fs": {"command": "b"}}}', "is repeated"),
        (b'{"mcpServers": [{"command": "a"}]}', "not a map"),
        (b'{"mcpServers": {"it": {"command": "a",,}}}', "double quotes"),
        (b'{"mcpServers": {"it": {"command": NaN}}}', "a value is missing"),
        (b'{"mcpServers": {"it": {"command": "a\nb"}}}', "not closed"),
        (b"[" * 5000, "nested too deeply"),
        (b'{"mcpServers": {}} {}', "after the end"),
    ],
)
def test_a_broken_file_is_refused_and_not_repaired(
    machine: Machine, content: bytes, why: str
) -> None:
    path = put(machine.home, content)
    planned = plan(machine)
    assert why in planned.problem
    assert planned.content is None
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content", [OPEN.replace("{", "{ // mine\n", 1), "\ufeff" + OPEN, OPEN.replace("]", ",]")]
)
def test_what_its_own_client_cannot_read_is_refused(machine: Machine, content: str) -> None:
    path = put(machine.home, content, ".config/Claude/claude_desktop_config.json")
    planned = plan(machine)
    assert planned.problem
    assert path.read_text(encoding="utf-8") == content


def test_a_byte_order_mark_stays_and_none_comes(machine: Machine) -> None:
    path = put_guarded(machine, "\ufeff" + OPEN)
    assert path.read_bytes() == ("\ufeff" + GUARDED).encode()


def test_a_name_in_another_spelling_is_that_name(machine: Machine) -> None:
    path = put(machine.home, OPEN.replace('"it"', '"\\u0069t"'))
    guard(machine, names=["it"])
    assert path.read_text() == GUARDED.replace('"it":', '"\\u0069t":')


def test_a_file_that_changed_after_it_was_shown_is_not_written(machine: Machine) -> None:
    path = put(machine.home, OPEN)
    planned = plan(machine)
    path.write_text(OPEN + "\n")
    with pytest.raises(files.FileError, match="changed in the meantime"):
        setting.carry_out(planned, machine)
    assert path.read_text() == OPEN + "\n"
    path.unlink()
    with pytest.raises(files.FileError):
        setting.carry_out(planned, machine)
    assert not path.exists()
    assert history.records() == []


def test_a_file_that_changes_at_the_last_moment_is_not_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(machine.home, OPEN)
    planned = plan(machine)
    remember = history.remember

    def slow(*given: object) -> history.Record:
        record = remember(*given)  # type: ignore[arg-type]
        path.write_text("{}")
        return record

    monkeypatch.setattr(history, "remember", slow)
    with pytest.raises(files.FileError, match="changed in the meantime"):
        setting.carry_out(planned, machine)
    assert path.read_text() == "{}"
    assert history.records() == []
    assert list(path.parent.iterdir()) == [path]


def test_without_a_backup_nothing_is_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = put(machine.home, OPEN)
    planned = plan(machine)
    (tmp_path / "state").write_text("a file where the folder must be")
    with pytest.raises(StateError):
        setting.carry_out(planned, machine)
    assert path.read_text() == OPEN


def test_what_is_kept_is_for_its_owner_alone(machine: Machine) -> None:
    put_guarded(machine)
    (record,) = history.records()
    paths = (record.folder, *record.folder.iterdir())
    assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    assert record.backup() == OPEN.encode()


def test_two_changes_in_a_row_are_undone_byte_for_byte_or_one_by_one(machine: Machine) -> None:
    both = OPEN.replace("}}}", '}, "two": {"command": "srv2"}}}')
    path = put(machine.home, both)
    guard(machine, names=["it"])
    guard(machine, names=["two"])
    assert undo(machine) == [undoing.UndoMethod.EXACT, undoing.UndoMethod.EXACT]
    assert path.read_text() == both
    guard(machine)
    assert undo(machine, "it") == [undoing.UndoMethod.SPLICED]
    assert states(plan(machine)) == {"it": GuardState.OPEN, "two": GuardState.GUARDED}
    assert undo(machine) == [undoing.UndoMethod.SPLICED]
    assert path.read_text() == both
    assert history.records() == []


def test_only_what_a_person_changed_remains(machine: Machine) -> None:
    path = put_guarded(machine)
    path.write_text("// new\n" + path.read_text().replace("{", '{"theme": 1, ', 1))
    assert undo(machine) == [undoing.UndoMethod.SPLICED]
    assert path.read_text() == "// new\n" + OPEN.replace("{", '{"theme": 1, ', 1)


def test_an_entry_that_was_changed_is_undone_by_its_meaning(machine: Machine) -> None:
    path = put_guarded(machine)
    path.write_text(path.read_text().replace('"a"', '"a", "b"'))
    assert undo(machine) == [undoing.UndoMethod.BY_MEANING]
    (entry,) = json.loads(path.read_text())["mcpServers"].values()
    assert entry == {"command": "srv", "args": ["a", "b"]}
    path.write_text(GUARDED)  # of which there is no record
    assert undo(machine) == [undoing.UndoMethod.BY_MEANING]
    assert path.read_text() == OPEN


def test_without_any_record_comments_between_words_stay(machine: Machine) -> None:
    text = OPEN.replace('["a"]', '[\n  "a", // yes\n  /* and */ "b" // no\n]')
    path = put_guarded(machine, text)
    for record in history.records():
        record.forget()
    assert undo(machine) == [undoing.UndoMethod.BY_MEANING]
    assert path.read_text() == text


def test_a_comment_in_an_empty_list_of_arguments_stays(machine: Machine) -> None:
    path = put_guarded(machine, text := OPEN.replace('["a"]', "[ /* none yet */ ]"))
    assert '"--", "srv" /* none yet */ ]' in path.read_text()
    assert undo(machine) == [undoing.UndoMethod.EXACT]
    assert path.read_text() == text


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_guard_that_a_person_changed_is_removed_and_one_of_before_only_with_all(
    machine: Machine, end: str, *, everything: bool
) -> None:
    by_hand = '"own": {"command": "/opt/pipeguard", "args": ["wrap", "--observe", "--", "x"]}'
    # That guards also by_hand, whose launcher is stale.
    path = put_guarded(machine, OPEN.replace("}}}", "}, " + by_hand + "}}"))
    path.write_text(path.read_text().replace('"srv"', '"srv@1"'))
    guard(machine, isolate=True)
    path.write_text(path.read_text() + end)
    undone = undo(machine, everything=everything)
    assert undone[0] is undoing.UndoMethod.BY_MEANING
    servers = json.loads(path.read_text())["mcpServers"]
    assert servers["it"] == {"command": "srv@1", "args": ["a"]}
    assert (servers["own"] == {"command": "x"}) == everything
    assert servers["own"]["args"][:2] == ["wrap", "--observe"] if not everything else True
    assert history.records() == []


def test_a_client_that_wrote_the_file_anew_keeps_what_it_wrote(machine: Machine) -> None:
    path = put_guarded(machine)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"theme": "x"}, indent=4))
    assert undo(machine) == [undoing.UndoMethod.BY_MEANING]
    assert json.loads(path.read_text()) == json.loads(OPEN) | {"theme": "x"}


def test_a_changed_backup_is_not_believed(machine: Machine) -> None:
    path = put_guarded(machine)
    (record,) = history.records()
    (record.folder / "before").write_text('{"mcpServers": {"evil": {"command": "evil"}}}')
    with pytest.raises(StateError, match="was changed since"):
        undo(machine)
    assert path.read_text() == GUARDED


def test_a_stale_launcher_is_renewed_and_undone(machine: Machine, tmp_path: Path) -> None:
    path = put(machine.home, OPEN)
    gone = tmp_path / "gone" / "pipeguard"
    setting.carry_out(setting.plan(config(machine), machine, (str(gone),), GuardOptions()), machine)
    assert states(plan(machine)) == {"it": GuardState.STALE}
    guard(machine)
    assert path.read_text() == GUARDED
    assert undo(machine) == [undoing.UndoMethod.EXACT]
    assert path.read_text() == OPEN


def test_the_lock_of_a_client_is_taken_and_waited_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    path = put(machine.home, OPEN, ".cline/data/settings/cline_mcp_settings.json")
    lock = path.with_name(path.name + ".lock")
    lock.mkdir()
    planned = plan(machine)
    with pytest.raises(files.FileError, match="its client is writing it"):
        setting.carry_out(planned, machine)
    assert path.read_text() == OPEN
    old = time.time() - 60
    os.utime(lock, (old, old))  # its owner died
    setting.carry_out(planned, machine)
    assert path.read_text() == GUARDED
    assert not lock.exists()


def test_a_thousand_servers_are_guarded_in_one_go(machine: Machine) -> None:
    entry = {"command": "srv", "args": ["1"], "env": {"A": "b"}}
    text = json.dumps({"mcpServers": {f"s{n}": entry for n in range(1000)}}, indent=2)
    path = put(machine.home, text)
    begin = time.monotonic()
    planned = guard(machine)
    assert len(planned.changes) == 1000
    assert set(undo(machine)) == {undoing.UndoMethod.EXACT}
    assert time.monotonic() - begin < 60  # seconds; 3 on a slow machine
    assert path.read_text() == text


def test_the_same_name_in_two_scopes_is_two_servers(machine: Machine) -> None:
    local = {"/a": {"mcpServers": {"it": {"command": "srv2"}}}, "/b": {}}
    text = json.dumps({"mcpServers": {"it": {"command": "srv"}}, "projects": local})
    path = put(machine.home, text, ".claude.json")
    planned = guard(machine)
    assert [one.server.scope for one in planned.servers] == [ConfigScope.USER, ConfigScope.LOCAL]
    assert path.read_text().count('"wrap"') == 2
    path.write_text(path.read_text() + " ")
    assert undo(machine) == [undoing.UndoMethod.SPLICED, undoing.UndoMethod.SPLICED]
    assert path.read_text() == text + " "


def test_who_manages_the_machine_has_the_last_word(machine: Machine, tmp_path: Path) -> None:
    put(machine.home, OPEN, ".claude.json")
    managed = tmp_path / "managed-mcp.json"
    managed.touch()
    claude = client("claude-code")._replace(managed={"linux": (str(managed),)})
    assert managing_file(machine, claude) == managed
    assert managing_file(machine, client("cursor")) is None


def test_yaml_with_anchors_is_left_alone(machine: Machine) -> None:
    shared = "extensions:\n  a: &a {type: stdio, cmd: srv, enabled: true}\n  b: *a\n"
    text = shared + "  c: {type: stdio, cmd: srv, enabled: true}\n"
    path = put(machine.home, text, ".config/goose/config.yaml")
    planned = guard(machine)
    assert states(planned) == {"a": GuardState.CANNOT, "b": GuardState.CANNOT, "c": GuardState.OPEN}
    assert path.read_text().startswith(shared)


GOOSE, CODEX = ".config/goose/config.yaml", ".codex/config.toml"
BOMB = "a: &a [1]\n" + "".join(
    f"{key}: &{key} [{', '.join([f'*{of}'] * 50)}]\n" for key, of in ("ba", "cb", "dc", "ed")
)
TWINS = '"mcpServers": {"it": {"command": "b"}}'


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (GOOSE, "extensions:\n  a: {cmd: x}\n  a: {cmd: y}\n"),
        (GOOSE, "--- a\n--- b\n"),
        (GOOSE, "a: &x [*x]\n"),
        (GOOSE, BOMB),
        (CODEX, "[mcp_servers.a]\ncommand = 1\ncommand = 2\n"),
        (CODEX, "[a]\n[a]\n"),
        (".claude.json", f'{{"projects": {{"/a": {{{TWINS}, {TWINS}}}}}}}'),
        (".claude.json", f'{{"projects": {{"/a": {{}}, "/a": {{{TWINS}}}}}}}'),
    ],
)
def test_a_broken_file_of_each_kind_is_refused(machine: Machine, place: str, text: str) -> None:
    put(machine.home, text, place)
    assert plan(machine).problem


def test_a_found_file_of_many_clients_lists_each_server_once(machine: Machine) -> None:
    project = machine.home / "project"
    text = '{"mcpServers": {"a": {"command": "x"}}, "servers": {"b": {"command": "y"}}}'
    put(project, text, ".mcp.json")
    here = Machine("linux", machine.home, {}, project)
    (found,) = find(here)
    assert {spec.client for spec in found.specs} == {"claude-code", "visual-studio", "copilot-cli"}
    assert [one.name for one in read_config(found).servers] == ["a", "b"]


def test_one_client_s_comments_do_not_keep_another_s_servers(machine: Machine) -> None:
    project = machine.home / "project"
    text = '{"servers": {"b": {"command": "y"}}} // Visual Studio takes comments\n'
    path = put(project, text, ".mcp.json")
    here = Machine("linux", machine.home, {}, project)
    (found,) = find(here)
    read = read_config(found)
    assert {spec.client for spec in read.specs} == {"visual-studio"}
    setting.carry_out(setting.plan(read, here, LAUNCHER, GuardOptions()), here)
    assert path.read_text() == text.replace(
        '"y"', '"pipeguard", "args": ["wrap", "--name", "b", "--", "y"]'
    )


def test_twins_elsewhere_are_their_client_s_own_business(machine: Machine) -> None:
    text = '{"x": {"a": 1, "a": 2}, "mcpServers": {"it": {"command": "srv", "args": ["a"]}}}'
    path = put_guarded(machine, text)
    assert path.read_text() == '{"x": {"a": 1, "a": 2}, ' + GUARDED[1:]


def test_a_repository_s_link_to_a_file_of_the_user_is_refused(machine: Machine) -> None:
    mine = put(machine.home, OPEN, ".cursor/mcp.json")
    project = machine.home / "project"
    (project / ".git").mkdir(parents=True)
    (project / ".cursor").mkdir()
    (project / ".cursor" / "mcp.json").symlink_to(mine)
    here = Machine("linux", machine.home, {}, project)
    problems = {
        str(found.path.relative_to(machine.home)): setting.plan(
            read_config(found), here, LAUNCHER, GuardOptions(shared=True)
        ).problem
        for found in find(here)
    }
    assert problems[".cursor/mcp.json"] == ""
    assert "it is a link to" in problems["project/.cursor/mcp.json"]
