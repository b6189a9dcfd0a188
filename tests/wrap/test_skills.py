"""Skills and pages that change between two runs: no changed text reaches a client unseen."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.firewall.session.test_contents import entry, listed
from tests.gateway.served import Served, write_servers
from tests.gateway.test_skills import SKILLED
from tests.wrap.wrapped import PYTHON, Object, Wrapped

pytestmark = pytest.mark.real
MARK = "CHANGED"  # in each text that no client may see
TEXTS = {
    "SKILL.md": "---\nname: notes\n---\nRead the notes, then run the script.\n",
    "references/notes.md": "The notes are short.\n",
    "scripts/blob.sh": "git status\n",
}


class Offered(NamedTuple):
    """The entries of all skills by name, and the texts of all files by address."""

    skills: dict[str, Any]
    files: dict[str, str]

    def write(self, path: Path) -> None:
        """Write what the server reads when it starts."""
        skills = {entry["uri"]: entry for entry in self.skills.values()}
        path.write_text(json.dumps([skills, self.files]))


Change = Callable[[Offered, str], object]


def _file(path: str, *, is_listed: bool = False) -> Change:
    """Change a file, alone or with its digest."""

    def change(offered: Offered, name: str) -> None:
        offered.files[f"skill://{name}/{path}"] += MARK
        if is_listed:
            resources = offered.skills[name]["resources"]
            resources[:] = [listed(one["uri"], offered.files[one["uri"]]) for one in resources]

    return change


def _entry(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change an entry alone."""
    return lambda offered, name: change(offered.skills[name])


CHANGES: dict[str, Change] = {
    "main-file": _file("SKILL.md"),
    "reference": _file("references/notes.md"),
    "script": _file("scripts/blob.sh"),
    "listed-main-file": _file("SKILL.md", is_listed=True),
    "listed-reference": _file("references/notes.md", is_listed=True),
    "listed-script": _file("scripts/blob.sh", is_listed=True),
    "name": _entry(lambda one: one["frontmatter"].update(name=MARK)),
    "description": _entry(lambda one: one["frontmatter"].update(description=MARK)),
    "licence": _entry(lambda one: one["frontmatter"].update(license=MARK)),
    "allowed-tools": _entry(lambda one: one["frontmatter"].update({"allowed-tools": MARK})),
    "no-licence": _entry(lambda one: one["frontmatter"].pop("license")),
    "hidden-mark": _entry(lambda one: one["frontmatter"].update(license=f"MIT\u200b{MARK}")),
    "meta": _entry(lambda one: one.update(_meta={"note": MARK})),
    "digest": _entry(lambda one: one["resources"][0].update(digest="sha256:" + "0" * 64)),
    "size": _entry(lambda one: one["resources"][0].update(size=1)),
    "one-file-less": _entry(lambda one: one["resources"].pop()),
    "twice-listed": _entry(lambda one: one["resources"].append(one["resources"][0])),
    "foreign-file": _entry(lambda one: one["resources"].append({"uri": "file:///etc/passwd"})),
    "dynamic": _entry(lambda one: one.update(resources="dynamic")),
    "unlisted-file": lambda it, name: it.files.update({f"skill://{name}/more.md": MARK}),
}


def begin(folder: Path, way: str, offered: Path) -> Wrapped:
    """Start a client of the server, through `wrap` or `serve`."""
    command = [*PYTHON, str(SKILLED), "one", "handshake", str(offered)]
    if way == "wrap":
        return Wrapped(folder, command=command).opened()
    program, *arguments = command
    server: Object = {"command": program, "args": [*arguments], "trust": "first-use"}
    return Served(folder, "--config", str(write_servers(folder, {"one": server}))).opened()


def see(run: Wrapped, offered: Offered) -> dict[str, Object]:
    """All that a client can see of the skills, by what it asked for."""
    with run as client:
        seen = {"skills/list": client.ask("skills/list")}
        for name in offered.skills:
            folder = f"skill://{name}/"
            seen[f"get {folder}"] = client.ask("skills/get", uri=f"{folder}SKILL.md")
            seen[f"folder {folder}"] = client.ask("resources/directory/read", uri=folder[:-1])
        for uri in offered.files:
            seen[uri] = client.ask("resources/read", uri=uri)
        client.end()
    return seen


@pytest.mark.parametrize("way", ["wrap", "serve"])
def test_what_changes_in_a_skill_reaches_no_client(tmp_path: Path, way: str) -> None:
    folders = {name: f"skill://{name}" for name in [*CHANGES, "same", "reordered"]}
    offered = Offered(
        {name: entry(TEXTS, folder, license="MIT") for name, folder in folders.items()},
        {f"{folder}/{file}": TEXTS[file] for folder in folders.values() for file in TEXTS},
    )
    path = tmp_path / "offered.json"
    offered.write(path)
    first = see(begin(tmp_path, way, path), offered)
    assert [key for key, answer in first.items() if "error" in answer] == []
    for name, change in CHANGES.items():
        change(offered, name)
    offered.skills["reordered"]["resources"].reverse()
    offered.write(path)
    second = see(begin(tmp_path, way, path), offered)
    assert [key for key, answer in second.items() if MARK in json.dumps(answer)] == []
    passed = [uri for uri in offered.files if "result" in second[uri]]  # some of it in Base64
    assert [uri for uri in passed if second[uri]["result"] != first[uri]["result"]] == []
    for name in offered.skills:
        of_skill = [key for key in second if f"//{name}/" in key]
        refused = [key for key in of_skill if "error" in second[key]]
        assert bool(refused) is (name in CHANGES), name
