"""The files of skills, and the skills around a file."""

import json

from pipeguard.firewall.pins.skills import MOST_STEPS, has_file, read_manifest
from pipeguard.firewall.pins.store import Names
from tests.firewall.session.talk import pinned
from tests.firewall.session.test_contents import ROOT, entry


def test_a_manifest_has_files_and_their_folders() -> None:
    many = {f"d{number}/f": "x" for number in range(20_000)}
    manifest = read_manifest(json.dumps(entry({"SKILL.md": "", "s-x/a": "", "s/b": "", **many})))
    for path in ("SKILL.md", "s", "s/", "s/b", "s-x", "./s/b", "%73/b", "", "x/..", *many):
        assert has_file(manifest, f"{ROOT}/{path}"), path
    for path in ("s-", "s/bb", "S/b", "skill.md", "s/b?x", "s//b", "../x"):
        assert not has_file(manifest, f"{ROOT}/{path}"), path


def test_the_skills_around_a_file_are_found_from_the_outermost_in() -> None:
    deep = "skill://" + "/".join("x" * (MOST_STEPS - 4))
    skills = [f"{root}/SKILL.md" for root in (ROOT, f"{ROOT}/in", deep)]
    names = Names([pinned({}, "skill", skill) for skill in skills])
    assert names.skills_around(f"{ROOT}/in/x/../y") == skills[:2]
    assert names.skills_around(ROOT) == skills[:1]
    assert names.skills_around(deep + "/y" * 2**20) == skills[2:], "in linear time"
