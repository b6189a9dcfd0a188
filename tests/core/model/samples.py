"""Texts, orders and a lexicon for the tests of what reads meaning."""

import json
from functools import cache

from hypothesis import strategies as st

from pipeguard.core.model.lexicon import Lexicon
from pipeguard.rulebook.packs import model
from tests.fuzz.rulebook import ALL as RULES
from tests.fuzz.values import long_texts

NAMES = ("injection", "poisoning")
RULE_OF = {name: RULES[f"{name}.classifier"] for name in NAMES}


# Texts of words that count and of what separates them, among any characters at all.
WORDS = st.sampled_from(
    [
        *(
            "Assistant",
            "ignore",
            "the",
            "user's",
            "previous",
            "instructions",
            "do not tell",
            "send",
        ),
        *(
            "Забудь",
            "инструкции",
            "忽略之前的指令",
            "助手",
            "निर्देश",
            "تجاهل",
            "التعليمات",
            "무시하고",
        ),
        *("https://x.example/a", "a@b.example", "~/.ssh/id_rsa", "«", "»", '"', "`", ": ", ", "),
        *(
            ". ",
            "! ",
            "。",
            "।",
            "\n",
            "\n\n",
            " ",
            "\u0301",
            "\u0640",
            "İ",
            "ß",
            "\U0001f600",
            "42",
        ),
    ]
)
any_texts = st.one_of(long_texts, st.lists(WORDS | long_texts, max_size=80).map("".join))


def samples(name: str) -> list[str]:
    return [sample for sample in RULE_OF[name].matches if isinstance(sample, str)]


def stems_of(name: str) -> tuple[list[str], dict[str, list[int]]]:
    found = json.loads(model(f"{name}.model"))
    return found["families"], found["stems"]


@cache
def shared_lexicon() -> Lexicon:
    return Lexicon(*stems_of("injection"))
