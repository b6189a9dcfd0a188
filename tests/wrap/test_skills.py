"""Skills and pages that change between two runs: no changed text reaches a client unseen."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.served import Served, write_servers
from tests.wrap.wrapped import PYTHON, Object, Wrapped

pytestmark = pytest.mark.real
SERVER = Path(__file__).with_name("skills.py")
MARK = "CHANGED"  # in each text that no client may see
Offered = dict[str, Any]


def entry(name: str, files: dict[str, str]) -> Offered:
    """The entry of a skill with these files."""
    resources = [
        {"uri": uri, "digest": f"sha256:{sha256(text.encode()).hexdigest()}", "size": len(text)}
        for uri, text in files.items()
    ]
    description = f"Keeps the {name} of this team in order."
    front = {"name": name, "description": description, "license": "MIT"}
    return {"uri": f"skill://{name}/SKILL.md", "frontmatter": front, "resources": resources}


def skill(name: str) -> tuple[Offered, dict[str, str]]:
    """A skill of three files: its entry, and their texts by address."""
    texts = {
        "SKILL.md": f"---\nname: {name}\n---\nRead the notes, then run the script.\n",
        "references/notes.md": "The notes are short.\n",
        "scripts/blob.sh": "git status\n",
    }
    files = {f"skill://{name}/{path}": text for path, text in texts.items()}
    return entry(name, files), files


def _file(path: str) -> Callable[[Offered, str], None]:
    """Change a file alone."""

    def change(offered: Offered, name: str) -> None:
        offered["files"][f"skill://{name}/{path}"] += MARK

    return change


def _listed_file(path: str) -> Callable[[Offered, str], None]:
    """Change a file, and its digest with it."""

    def change(offered: Offered, name: str) -> None:
        _file(path)(offered, name)
        files = {uri: text for uri, text in offered["files"].items() if f"//{name}/" in uri}
        find(offered, name)["resources"] = entry(name, files)["resources"]

    return change


def _entry(change: Callable[[Offered], object]) -> Callable[[Offered, str], object]:
    """Change an entry alone."""
    return lambda offered, name: change(find(offered, name))


def find(offered: Offered, name: str) -> Offered:
    """The entry of a skill, by its folder."""
    return next(each for each in offered["skills"] if each["uri"] == f"skill://{name}/SKILL.md")


def _added(offered: Offered, name: str) -> None:
    offered["files"][f"skill://{name}/more.md"] = MARK


CHANGES: dict[str, Callable[[Offered, str], object]] = {
    "main-file": _file("SKILL.md"),
    "reference": _file("references/notes.md"),
    "script": _file("scripts/blob.sh"),
    "listed-main-file": _listed_file("SKILL.md"),
    "listed-reference": _listed_file("references/notes.md"),
    "listed-script": _listed_file("scripts/blob.sh"),
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
    "unlisted-file": _added,
}


def begin(folder: Path, way: str, offered: Path) -> Wrapped:
    """Start a client of the server, through `wrap` or `serve`."""
    command = [*PYTHON, str(SERVER), str(offered)]
    if way == "wrap":
        return Wrapped(folder, command=command).opened()
    program, *arguments = command
    server: Object = {"command": program, "args": [*arguments], "trust": "first-use"}
    return Served(folder, "--config", str(write_servers(folder, {"one": server}))).opened()


def see(run: Wrapped, offered: Offered) -> dict[str, Object]:
    """All that a client can see of the skills, by what it asked for."""
    with run as client:
        seen = {"skills/list": client.ask("skills/list")}
        for each in offered["skills"]:
            uri = each["uri"]
            seen[f"get {uri}"] = client.ask("skills/get", uri=uri)
            folder = uri.removesuffix("/SKILL.md")
            seen[f"folder {uri}"] = client.ask("resources/directory/read", uri=folder)
        for uri in offered["files"]:
            seen[uri] = client.ask("resources/read", uri=uri)
        client.end()
    return seen


@pytest.mark.parametrize("way", ["wrap", "serve"])
def test_what_changes_in_a_skill_reaches_no_client(tmp_path: Path, way: str) -> None:
    skills = {name: skill(name) for name in [*CHANGES, "same", "reordered"]}
    offered: Offered = {
        "skills": [entry for entry, _ in skills.values()],
        "files": {uri: text for _, files in skills.values() for uri, text in files.items()},
    }
    path = tmp_path / "offered.json"
    path.write_text(json.dumps(offered))
    first = see(begin(tmp_path, way, path), offered)
    assert [key for key, answer in first.items() if "error" in answer] == []
    for name, change in CHANGES.items():
        change(offered, name)
    find(offered, "reordered")["resources"].reverse()
    path.write_text(json.dumps(offered))
    second = see(begin(tmp_path, way, path), offered)
    assert [key for key, answer in second.items() if MARK in json.dumps(answer)] == []
    for name in skills:
        of_skill = [key for key in second if f"//{name}/" in key]
        refused = [key for key in of_skill if "error" in second[key]]
        assert bool(refused) is (name in CHANGES), name
