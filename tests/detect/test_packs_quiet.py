"""Ordinary text is not blocked: the packs against the text that Python ships with itself.

Holds that no rule which blocks by default matches there. Knows no scanner: each pattern is run as
`re` runs it, over the text as it stands, without views, places and checks.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from pydoc_data import topics

import pytest

from pipeguard.detect.rules.rule import Rule, View, Written, load_pack
from pipeguard.firewall.finding import Confidence, Severity

RULES = Path(__file__).parents[2] / "rules"
TOPICS = 16  # of the manual that `help()` shows, spread over it
# Modules whose docstrings speak of files, commands, passwords, mail, addresses and hidden things.
MODULES = (
    *("argparse", "cmd", "email/message", "getpass", "http/client", "http/cookiejar", "netrc"),
    *("os", "pathlib", "pdb", "shutil", "smtplib", "subprocess", "tempfile", "urllib/request"),
)


def library_text() -> Iterator[str]:
    """Pages of the reference manual, then docstrings."""
    pages = list(topics.topics.values())
    yield from islice(pages, 0, None, max(1, len(pages) // TOPICS))
    for name in MODULES:
        source = (Path(sysconfig.get_path("stdlib")) / f"{name}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


def blocking(pack: str) -> list[Rule]:
    """The rules that block by default and look at the text as it stands."""
    return [
        rule
        for rule in load_pack((RULES / f"{pack}.yaml").read_text(encoding="utf-8"), pack)
        if rule.severity >= Severity.HIGH
        and rule.confidence is Confidence.HIGH
        and View.TEXT in rule.views
        and rule.written is Written.KEEP
        and rule.pattern
    ]


@pytest.fixture(scope="module")
def text() -> bytes:
    joined = "\n".join(library_text()).encode("utf-8")
    assert len(joined) > 100_000, "too little text to prove anything"
    return joined


@pytest.mark.parametrize("pack", ["injection", "poisoning"])
def test_no_blocking_rule_matches_the_standard_library(pack: str, text: bytes) -> None:
    rules = blocking(pack)
    assert rules
    found = {}
    for rule in rules:
        flags = re.ASCII | (re.IGNORECASE if rule.ignore_case else 0)
        if match := re.search(rule.pattern.encode("utf-8"), text, flags):
            found[rule.id] = match[0][:120]
    assert found == {}
