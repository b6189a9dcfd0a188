"""Checks every file: none has traces of a machine or a registry, or a live secret."""

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from pipeguard import Action, Direction, Engines, Frame, Policy, Session, make_guard
from pipeguard.detect.rules.rule import Leaving
from pipeguard.detect.text.windowing import blocks
from tests.fuzz.rulebook import engines
from training import texts as training_texts

pytestmark = pytest.mark.needs("git")  # lists the files
TOP = Path(__file__).resolve().parent.parent
LOCKS = sorted(
    path
    for pattern in ("requirements/*.txt", "tests/requirements-*.txt", "benchmarks/*/require*.txt")
    for path in TOP.glob(pattern)
)
NPM_LOCKS = ("tests/package-lock.json", "benchmarks/search/package-lock.json")
DUMMIES = "benchmarks/day/"  # actions with made-up passwords; keys by their form are minted
CASES = ("benchmarks/detection/", "benchmarks/orders/")  # likewise
# A server's package is fetched with nothing but its registry at hand; a command that installs may
# name a registry.
ASKING_REGISTRIES = (
    *("pipeguard/isolation/packages.py", "tests/isolation/test_packages.py"),
    "pipeguard/detect/words/benign_commands.txt",
)
PLAYED = "benchmarks/detection/cases/"  # what is sent through a Session there is installed nowhere
TRAINED = "training/texts/"  # in an archive, whose every file is known by its hash
BINARY = {".png", ".gz", ".db", ".webp", ".xz"}
LINES_AT_A_TIME = 25

# In pieces, so that this file does not hold what it looks for.
REGISTRIES = [
    *("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "npmjs" + ".com"),
    *("crates" + ".io", "rubygems" + ".org", "proxy.golang" + ".org"),
]
MACHINE_PATHS = re.compile(
    r"/work/(mai"
    r"n|steerin"
    r"g|share"
    r"d|brie"
    r"f|venv)|/root/\.(pyenv|cargo|rustup)|/home/run"
    r"ner"
)
# Calls that got arguments in a later 3.11: CPython, Lib/tarfile.py, shutil.py, email/utils.py.
LATER = re.compile(r"\b(extract|extractall|unpack_archive|getaddresses|parseaddr)")
LATER_ARGUMENTS = {"filter", "strict"}
DOCSTRING = re.compile(r'(#[^\n]*\n|\s)*r?"""\S')  # without parsing a thousand files
INDEX = re.compile(r"https?://|--(extra-)?index-url|--find-links|--trusted-host")
REQUIREMENT = re.compile(r"^[A-Za-z0-9_.-]+(\[[a-z,]+\])?==\S+", re.MULTILINE)


@cache
def files() -> dict[str, str]:
    """Every file that is committed, or would be, with its text; archived ones too."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=TOP,
        capture_output=True,
        check=True,
    )
    names = sorted(filter(None, listed.stdout.decode().split("\0")))
    found = {}
    for name in names:
        path = TOP / name
        if path.is_file() and path.suffix not in BINARY:
            found[name] = path.read_bytes().decode("utf-8", "replace")
    assert "pyproject.toml" in found
    trained = training_texts.files_or_sample()
    return found | {f"{TRAINED}{name}": text.decode() for name, text in trained.items()}


def pinned(lock: str) -> list[str]:
    """The lines of a lock that name a package and its version."""
    text = files()[f"requirements/{lock}.txt"]
    return [line for line in text.splitlines() if REQUIREMENT.match(line)]


def plain(requirement: str) -> str:
    """Return only the name of a requirement, normalised as in PEP 503."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9_.-]", requirement)[0]).lower()


def test_no_file_names_a_registry() -> None:
    found = [
        (name, host)
        for name, text in files().items()
        for host in REGISTRIES
        if host in text and not name.startswith(PLAYED) and name not in ASKING_REGISTRIES
    ]
    assert found == []


def test_no_file_holds_a_path_of_one_machine() -> None:
    found = {name: MACHINE_PATHS.search(text) for name, text in files().items()}
    assert {name: match[0] for name, match in found.items() if match} == {}


@cache
def rules() -> Engines:
    """All rules, compiled."""
    return engines()


def secrets_in(text: str) -> list[str]:
    """Find secrets in a text, some lines at a time: a scan reports only a few for each rule."""
    session = Session(make_guard("repository", rules(), Policy(), {}), "TEST")
    lines = text.splitlines()
    found = []
    for first in range(0, len(lines), LINES_AT_A_TIME):
        part = "\n".join(lines[first : first + LINES_AT_A_TIME])
        if not may_hold_a_secret(part):
            continue
        params = {"name": "write", "arguments": {"text": part}}
        call = {"jsonrpc": "2.0", "id": first, "method": "tools/call", "params": params}
        verdict = session.take(Frame(Direction.TO_SERVER, json.dumps(call).encode(), 0.0))
        found += [
            f"{finding.rule}: {finding.excerpt}"
            for finding in verdict.findings
            if finding.rule.startswith(("secrets.", "protocol."))  # protocol: it was not scanned
            and finding.view == "text"
            and finding.action is Action.BLOCK
        ]
    return found


def may_hold_a_secret(text: str) -> bool:
    """False if no rule for secrets could match a text: the first question of a scan."""
    engine, data = rules().to_server, f"text: {text}".encode("utf-8", "surrogatepass")
    return any(
        rule.id.startswith("secrets.")
        for low, high in blocks(len(data))
        for rule in engine.look_plain(data[low:high])[1]
    )


def live_looking(names: Iterable[str]) -> dict[str, list[str]]:
    found = {name: secrets_in(files()[name]) for name in names}
    return {name: secrets for name, secrets in found.items() if secrets}


def test_no_file_holds_a_live_looking_secret() -> None:
    committed = (name for name in files() if not name.startswith((TRAINED, DUMMIES, *CASES)))
    hashes = re.compile(r"requirements/.*\.txt|benchmarks/search/requirements\.txt")
    assert live_looking(name for name in committed if not hashes.fullmatch(name)) == {}


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_no_case_of_a_benchmark_holds_a_secret_but_by_its_name(every: int) -> None:
    cases = [name for name in files() if name.startswith(CASES)]
    found = live_looking(cases[::every])
    named = {finding.partition(":")[0] for secrets in found.values() for finding in secrets}
    assert named <= names_of_secrets()


def names_of_secrets() -> set[str]:
    """The rules that know a secret only by its name, such as a password's."""
    return {rule.id for rule in rules().to_server.rules.all if rule.leaving is Leaving.LOWER}


def test_no_action_of_a_day_holds_a_key_by_its_form() -> None:
    """Its form is an issuer's; names, hashes and signatures are not, as anybody can make them."""
    by_name = names_of_secrets()
    found = live_looking(name for name in files() if name.startswith(DUMMIES))
    named = {finding.partition(":")[0] for secrets in found.values() for finding in secrets}
    assert named & by_name
    assert named - by_name <= {"secrets.jwt", "secrets.jwt-short"}


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_no_training_text_holds_a_live_looking_secret(every: int) -> None:
    trained = [name for name in files() if name.startswith(TRAINED)]
    assert live_looking(trained[::every]) == {}


def test_the_search_for_secrets_finds_one() -> None:
    assert len(secrets_in(f"key = {'AKIA'}Q3EGRJ2W7LKXN5TM\n")) == 1


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_every_package_by_hash_and_names_no_index(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert INDEX.search(text) is None
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry for entry in entries if not REQUIREMENT.match(entry)] == []
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", NPM_LOCKS)
def test_an_npm_lock_names_no_registry(lock: str) -> None:
    assert '"resolved"' not in files()[lock]


@pytest.mark.parametrize(("lock", "extra"), [("base", None), ("test", "test")])
def test_a_lock_holds_what_the_project_asks_for(lock: str, extra: str | None) -> None:
    settings = tomllib.loads(files()["pyproject.toml"])
    wanted = list(settings["tool"]["hatch"]["metadata"]["hooks"]["custom"]["dependencies"])
    if extra is not None:
        wanted += settings["project"]["optional-dependencies"][extra]
    locked = {plain(line) for line in pinned(lock)}
    assert {plain(item) for item in wanted} <= locked
    # With hashes, pip takes the newest version of `name[extra]` unless the lock pins that.
    with_extra = re.compile(r"(?m)^[\w.-]+\[[a-z,]+\]")
    asked, pins = (set(with_extra.findall("\n".join(each))) for each in (wanted, pinned(lock)))
    assert asked <= pins


def test_the_tests_run_with_the_versions_that_users_get() -> None:
    def versions(name: str) -> set[str]:  # each with its own conditions
        return {line.partition(";")[0].strip(" \\") for line in pinned(name)}

    assert versions("base") <= versions("test")


def test_no_call_needs_a_later_python_than_the_first_3_11() -> None:
    calls = [
        f"{name}:{node.lineno}"
        for name, text in files().items()
        if name.endswith(".py") and LATER.search(text)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and LATER.match(ast.unparse(node.func).rpartition(".")[2])
        if LATER_ARGUMENTS & {keyword.arg for keyword in node.keywords}
    ]
    assert calls == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        name
        for name, text in files().items()
        if name.endswith(".py")
        and name.startswith(("pipeguard/", "benchmarks/"))
        and not DOCSTRING.match(text)
    ]
    assert silent == []
