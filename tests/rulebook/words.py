"""Rules that each look for one word, and the contents of a cache of them."""

import json
from pathlib import Path

from pipeguard.detect.detector import Engines
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.packs import PackFile

RULE = """\
- id: {name}
  title: A word that nobody writes
  severity: high
  confidence: high
  surfaces: [to-server, to-client, definitions]
  pattern: '{name}-[0-9]{{3}}'
  why: It is for a test.
  fix: Nothing.
  matches: [{name}-123]
  passes: [{name}-12]
"""


def pack_of(**fields: object) -> str:
    """A pack of one rule on every surface, with these fields."""
    entry = {"id": "one", "title": "t", "severity": "high", "confidence": "high", "pattern": "a"}
    texts = {"why": "w", "fix": "f", "matches": ["a"], "passes": ["b"]}
    rule = json.dumps(entry | {"surfaces": [each.value for each in Surface]} | texts | fields)
    return f"pack: mine\nabout: For a test.\nrules: [{rule}]\n"


def packs(*names: str) -> list[PackFile]:
    """One pack of a rule for each word."""
    text = "pack: mine\nabout: For a test.\nrules:\n" + "".join(
        RULE.format(name=name) for name in names or ("xyzzy",)
    )
    return [PackFile("mine.yaml", text.encode(), shipped=False)]


def finds(engines: Engines, text: str = "xyzzy-123") -> bool:
    """True if the word is found on every surface."""
    pairs = [(surface, engine) for surface in Surface for engine in engines.over(surface)]
    assert len(pairs) == len(Surface)
    return all(engine.scan({"a": text}, str, surface).matches for surface, engine in pairs)


def file_of(folder: Path) -> Path:
    """The only compiled rules in a cache."""
    (file,) = folder.glob("rules-*.compiled")
    return file
