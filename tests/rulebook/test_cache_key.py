"""The key of compiled rules: whatever changes a database changes the key."""

import sys
from functools import cache
from pathlib import Path
from time import time

import pytest

from pipeguard.rulebook import cache_key
from pipeguard.rulebook.cache_key import modules_of_compiling
from tests.commands import run_command
from tests.each import each
from tests.rulebook.words import packs

SCRIPT = """
import sys
from pipeguard.firewall.protocol.places import Surface
from pipeguard.detect.scanning import engine
from pipeguard.rulebook.packs import load_rules, model
for surface in Surface:
    engine.collect_patterns(load_rules(), surface, model)
print(*(name for name in sys.modules if name.startswith("pipeguard.")))
"""
CODE = cache(cache_key._code)  # for many keys, each module is read once
# They know no rule.
OTHERS = {
    "allocator",
    "firewall.protocol._strict_json",
    "config",
    "detect.matching._signs",
    "detect.model._classifier",
    "detect.text._layout",
    "detect._outline",
    "config.directories",
    "errors",
    "native",
    "records",
    "version",
}


@each("name", modules_of_compiling())
def test_a_change_of_any_module_that_makes_expressions_is_another_key(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(cache_key, "_code", CODE)
    monkeypatch.setattr(cache_key, "_engine", lambda: ("", ""))
    before = cache_key.cache_key(packs())
    assert cache_key.cache_key(packs()) == before
    assert CODE(name)
    with monkeypatch.context() as patch:
        patch.setattr(cache_key, "_code", lambda path: CODE(path) + b"#" * (path == name))
        assert cache_key.cache_key(packs()) != before


def test_all_that_is_imported_to_make_expressions_counts() -> None:
    """The key is of modules, so no other may have a part in it."""
    done = run_command([sys.executable, "-c", SCRIPT], check=True)
    imported = {name.removeprefix("pipeguard.") for name in done.stdout.split()}
    counted = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in modules_of_compiling()
    }
    assert imported - counted <= OTHERS
    assert len(imported & counted) > 20
    assert {"detect.words.arguments.txt", "detect.words.hosts.txt"} <= counted


def test_another_order_of_packs_is_another_key() -> None:
    first, second = packs("xyzzy")[0], packs("plugh")[0]
    some = ([first, second], [second, first], [first])
    assert len({cache_key.cache_key(chosen) for chosen in some}) == 3


def test_a_key_is_made_once_for_the_files_that_it_is_made_from(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for those that only read texts: Python, and the extension of RE2, but not bytecode."""
    keys = iter([bytes([number]) * 32 for number in range(10)])
    monkeypatch.setattr(cache_key, "cache_key", lambda _: next(keys))
    monkeypatch.setattr(cache_key, "_processor", lambda: "flags: avx2")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "re2", raising=False)
    (tmp_path / "re2/__pycache__").mkdir(parents=True)
    (tmp_path / "re2/__init__.py").touch()
    (extension := tmp_path / "re2/_re2.so").write_bytes(b"1")
    states = set[bytes]()

    def find(number: int) -> None:
        key, state = cache_key.find_key(packs(), str(folder))
        assert key[0] == number
        states.add(state)

    find(0)
    find(1)  # another change of a file could have the same time
    monkeypatch.setattr(cache_key, "time", lambda: time() + 10)
    find(2)
    (tmp_path / "re2/__pycache__/a.pyc").touch()
    find(2)
    extension.write_bytes(b"2")
    find(3)
    monkeypatch.setattr(sys, "version", "4.0")
    find(4)
    for stored in folder.glob("key-*"):
        stored.write_bytes(b"short")
    find(5)
    find(5)
    monkeypatch.setattr(cache_key, "_processor", lambda: "")
    find(6)
    find(7)
    assert len(states) == 4
