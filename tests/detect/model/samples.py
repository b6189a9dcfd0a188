"""Texts, orders, and the shipped models, for the tests of classifiers."""

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from pipeguard.detect.model.classifier import Classifier, Rescoring, unpack_classifier
from pipeguard.detect.model.features import Lexicon, list_stems
from pipeguard.detect.model.network import Network
from pipeguard.detect.scanning.engine import Engine
from pipeguard.detect.scanning.scan_budget import Match
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.packs import model
from pipeguard.rulebook.proof import frame_value, sample_place
from tests.commands import run_command
from tests.fuzz.budget import count_tries
from tests.fuzz.rulebook import ALL as RULES
from tests.fuzz.rulebook import engines
from tests.fuzz.values import long_texts

NAMES = ("injection", "poisoning")
RULE_OF = {name: RULES[f"{name}.classifier"] for name in NAMES}
SURFACE = {"injection": Surface.TO_CLIENT, "poisoning": Surface.DEFINITIONS}
FILLER = "The library opens at nine, and the boats are moored at the northern pier.\n"


# Texts of words that count and of what separates them, among any characters at all.
WORDS = st.sampled_from(
    [
        *("Assistant", "ignore", "the", "user's", "previous", "instructions", "do not tell"),
        *("Забудь", "инструкции", "忽略之前的指令", "助手", "निर्देश", "تجاهل", "무시하고", "send"),
        *("https://x.example/a", "a@b.example", "~/.ssh/id_rsa", "«", "»", '"', "`", ": ", ", "),
        *(". ", "! ", "。", "।", "\n", "\n\n", " ", "\u0301", "\u0640", "İ", "ß", "\U0001f600"),
        *("42", "التعليمات"),
    ]
)
any_texts = st.one_of(long_texts, st.lists(WORDS | long_texts, max_size=80).map("".join))


def samples(name: str) -> list[str]:
    return [sample for sample in RULE_OF[name].matches if isinstance(sample, str)]


def document(name: str) -> dict[str, Any]:
    return unpack_classifier(model(f"{name}.model"))


def stems_of(name: str) -> tuple[list[str], dict[str, list[int]]]:
    return document(name)["families"], list_stems(document(name)["stems"])


@cache
def shared_lexicon() -> Lexicon:
    return Lexicon(*stems_of("injection"))


SAMPLES = [(name, text) for name in NAMES for text in samples(name)]
both = pytest.mark.parametrize("name", NAMES)


def read_classifier(name: str, network: Callable[[Rescoring], Network] | None = None) -> Classifier:
    """Read a shipped classifier that no other test uses."""
    return Classifier(document(name), network)


shipped = cache(read_classifier)


def engine_of(name: str) -> Engine:
    return engines().to_client if name == "injection" else engines().definitions


def matches(name: str, text: str, engine: Engine | None = None) -> list[Match]:
    """Return the matches of a classifier's rule in a text, as an engine finds them."""
    rule, surface = RULE_OF[name], SURFACE[name]
    place = sample_place(rule, surface)
    seen = (engine or engine_of(name)).scan(frame_value(surface, text), lambda _: place, surface)
    return [match for match in seen.matches if match.rule.id == rule.id]


_BEGINNING = """
import random, sys
sys.path[:0] = sys.argv[1:]
dice = random.Random(2)
"""


def run_sanitized(source: Path, code: str, folder: Path, tries: int) -> None:
    """Run code with an extension built with the address and undefined behaviour sanitizers.

    Args:
        source: of the extension.
        code: which tries TRIES things that `dice` chooses.
        folder: for the built extension.
        tries: how often the longest of suites tries.
    """
    built = folder / f"{source.stem}.abi3.so"
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g"]
    include = sysconfig.get_paths()["include"]
    build = ["cc", *flags, "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(built)]
    subprocess.run([*build, "-lm"], check=True)
    library = run_command(["cc", "-print-file-name=libasan.so"], check=True).stdout.strip()
    program = f"TRIES = {count_tries(tries)}{_BEGINNING}{code}"
    subprocess.run(
        [sys.executable, "-c", program, str(folder), *sys.path],
        env={"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"},
        check=True,
    )
