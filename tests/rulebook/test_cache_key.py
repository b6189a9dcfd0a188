"""The key of compiled rules: whatever changes a database changes the key."""

import sys
from functools import cache

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
    "rulebook",
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


def test_a_module_that_is_missing_counts_as_empty() -> None:
    assert cache_key._code("detect/none-such.py") == b""
