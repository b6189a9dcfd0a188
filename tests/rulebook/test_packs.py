"""The packs: the shipped ones first, then the user's own."""

import os
import re
from pathlib import Path

import pytest

from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.engine import compile_engine
from pipeguard.errors import RuleError
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook import packs as rulebook
from pipeguard.rulebook.cache import load_engines
from pipeguard.rulebook.packs import PackFile, load_rules, shipped_folder, sources, user_folder
from pipeguard.rulebook.proof import prove
from tests.detect.cases import read_cases
from tests.each import each
from tests.rulebook import words

CASES = read_cases(__file__)


def pack(pack_name: str = "mine", name: str = "magic-word") -> str:
    text = words.packs()[0].content.decode().replace("pack: mine", f"pack: {pack_name}")
    text = text.replace("id: xyzzy", f"id: {name}")
    return text.replace("[to-server, to-client, definitions]", "[to-server]")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = Path(user_folder())
    folder.mkdir(parents=True)
    return folder


def test_the_shipped_packs_are_found_in_order() -> None:
    names = [Path(source.path).name for source in sources() if source.shipped]
    assert names == sorted(names, key=lambda name: name.removesuffix(".yaml"))
    packs = {name.removesuffix(".yaml") for name in names}
    assert {"commands", "injection", "personal", "poisoning", "secrets"} <= packs


def test_every_file_in_the_folder_is_a_part_of_the_pack_that_its_name_begins_with() -> None:
    names = [Path(source.path).stem for source in sources()]
    packs = [{rule.pack for rule in load_rules([source])} for source in sources()]
    assert dict(zip(names, packs, strict=True)) == {
        name: {name.partition("-")[0]} for name in names
    }


def test_the_users_own_packs_come_after(own: Path) -> None:
    (own / "mine.yaml").write_text(pack())
    (own / ".mine.yaml.swp").write_text("not a pack")
    (own / ".hidden.yaml").write_text("not a pack")
    (own / "notes.txt").write_text("not a pack")
    (own / "mine.yml").write_text(pack("yours"))
    last = sources()[-2:]
    names = [str(own / "mine.yaml"), str(own / "mine.yml")]
    assert [(each.path, each.shipped) for each in last] == [(name, False) for name in names]
    assert [rule.id for rule in load_rules(last)] == ["mine.magic-word", "yours.magic-word"]


def test_a_user_can_add_to_a_shipped_pack(own: Path) -> None:
    (own / "more.yaml").write_text(pack("secrets"))
    assert "secrets.magic-word" in {rule.id for rule in load_rules()}


def test_an_id_stands_in_one_file_only() -> None:
    first = PackFile("a.yaml", pack().encode(), shipped=True)
    second = PackFile("b.yaml", pack().encode(), shipped=False)
    with pytest.raises(RuleError, match=r"b\.yaml: mine\.magic-word is already in a\.yaml"):
        load_rules([first, second])


def test_a_wrong_pack_of_the_users_is_told_and_nothing_is_loaded(own: Path) -> None:
    (own / "mine.yaml").write_text(pack().replace("severity: high", "severity: hihg"))
    where = r"mine\.yaml, line 6, column 3: magic-word: severity"
    with pytest.raises(RuleError, match=f"{where}: `hihg` is none of"):
        load_rules()


@each("old, new", CASES["what_is_no_rule"])
def test_what_is_no_rule(old: str, new: str) -> None:
    text = pack()
    line = text[: text.index(old)].count("\n") + new.strip().count("\n") + 1
    with pytest.raises(RuleError, match=rf"^a\.yaml, line {line}, column \d+: "):
        load_rules([PackFile("a.yaml", text.replace(old, new).encode(), shipped=False)])


@each("field, what", CASES["a_wrong_field_says_what_to_write"])
def test_a_wrong_field_says_what_to_write(field: str, what: str) -> None:
    text = pack().replace("surfaces: [to-server]", field)
    with pytest.raises(RuleError, match=rf"^a\.yaml, line .*{re.escape(what)}"):
        load_rules([PackFile("a.yaml", text.encode(), shipped=False)])


@pytest.mark.parametrize("pattern", ["(?U)xyzzy-[0-9]+", "xyzzy\\B-1"])
def test_a_pattern_that_only_re2_takes_stops_each_start(own: Path, pattern: str) -> None:
    (own / "mine.yaml").write_text(pack().replace("xyzzy-[0-9]{3}", pattern))
    what = r"mine\.yaml, line 9, column 3: magic-word: `pattern`: the scan engine does not take"
    for _ in range(2):
        with pytest.raises(RuleError, match=what):
            load_engines(folder=str(own / "cache"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (pack().replace("about: For a test.\n", ""), ", line 1, column 1: `about` is missing"),
        ("pack: mine\nabout: x\nrules: []\n", ", line 3, column 1: `rules` is empty"),
        ("\ud8ff", " is not UTF-8"),
    ],
)
def test_a_whole_pack_that_is_wrong_is_told(content: str, what: str) -> None:
    file = PackFile("a.yaml", content.encode("utf-8", "surrogatepass"), shipped=False)
    with pytest.raises(RuleError, match=rf"^a\.yaml{what}"):
        load_rules([file])


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")
def test_a_pack_that_everybody_may_write_is_not_believed(own: Path) -> None:
    (own / "mine.yaml").write_text(pack())
    (own / "mine.yaml").chmod(0o646)
    with pytest.raises(RuleError, match="everybody may write"):
        sources()


def test_an_installation_without_rules_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pipeguard"
    package.mkdir()
    monkeypatch.setattr(rulebook, "PACKAGE", str(package))
    with pytest.raises(RuleError, match="missing from this installation"):
        shipped_folder()
    (tmp_path / "rules").mkdir()
    with pytest.raises(RuleError, match="missing from this installation"):
        sources()


def test_an_installed_packages_own_rules_come_before_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pipeguard"
    (package / "rules").mkdir(parents=True)
    (tmp_path / "rules").mkdir()
    monkeypatch.setattr(rulebook, "PACKAGE", str(package))
    assert shipped_folder() == str(package / "rules")


def test_the_page_has_every_field_and_its_example_holds() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "rules.md").read_text("utf-8")
    assert [name for name in Rule._fields[:-1] if f"\n| `{name}` |" not in page] == []
    example = page.partition("```yaml\n")[2].partition("```")[0]
    rules = load_rules([PackFile("acme.yaml", example.encode(), shipped=False)])
    assert [rule.id for rule in rules] == ["acme.project-code"]
    engine = compile_engine(rules, Surface.TO_SERVER, rulebook.model)
    assert list(prove(rules[0], engine, Surface.TO_SERVER)) == []
