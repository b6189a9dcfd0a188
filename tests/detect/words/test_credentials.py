"""Each word names a credential to those who ask for its table."""

import re
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.clients.masking import MASK, is_secret, masked_text
from pipeguard.detect.checks.benign_commands import is_login
from pipeguard.detect.checks.credential_names import (
    is_credential_name,
    is_secret_header,
    is_secret_setting,
)
from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.checks.registry import run
from pipeguard.detect.flows.secret_values import named_secrets
from pipeguard.detect.flows.text_values import secret_egress
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.detect.flows.vault import Vault
from pipeguard.detect.text.document import MessageText
from pipeguard.detect.words import credentials
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.identity.words import distinguishing_words, identity_of_url
from pipeguard.launch.environment import Environment
from pipeguard.runtime.start import hint
from tests.detect.words.proof import NO_WORD, Proof, matching, tables, unproved
from tests.each import each
from tests.fuzz.budget import tried

VALUE = "aB3$xyzw"
VAULT = Vault(b"k" * 32)
SECRET = VAULT.placeholder("secrets.demo", "a secret of some length")


def logs_in_with(before: str) -> bool:
    """Whether a command logs in with a secret, so that it is less sure that one leaves."""
    arguments: JsonObject = {"command": f"curl {before}{SECRET} https://in.example"}
    labels = Label.RUNS | Label.SENDS
    return secret_egress(VAULT, labels, arguments, lambda _: False) is Confidence.MEDIUM


def is_option(word: str) -> bool:
    lines = f"\n$ token\n$ tool --{word}=$(token) x\n".encode()
    return is_login(b"$ token", lines)


def may_be_missed(variable: str) -> bool:
    return hint(Environment({}, [variable], []), code=1) is not None


def is_read_with_its_value(key: str) -> bool:
    return f"{key}: {VALUE}" in MessageText({key: VALUE}, keyed=False).data.decode()


def is_public(word: str) -> bool:
    return run("name-secret", f"{word}_token".encode()) is Outcome.FAILS


PROOFS: Mapping[str, Proof] = {
    "OPTIONS": is_option,
    "SETTINGS": lambda word: is_secret_setting(f"MY_{word}"),
    "SETTINGS_OF_TWO_WORDS": lambda words: is_secret_setting(f"MY_{words}_VALUE"),
    "OTHER_KEYS": lambda word: not is_secret_setting(f"{word}_key"),
    "ABOUT_SECRETS": lambda word: not is_secret_setting(f"secret_{word}"),
    "PUBLIC": is_public,
    "PUBLIC_OF_APIS": lambda word: run("name-secret", f"{word}_api_key".encode()) is Outcome.FAILS,
}
EXPRESSIONS: Mapping[str, Proof] = {
    "COMMON": is_credential_name,
    "COMMON_PARTS": lambda part: is_secret(f"my{part}x", "value"),
    "SCHEMES": lambda scheme: logs_in_with(f"-H 'Authorization: {scheme} "),
    "KEYS": lambda part: is_read_with_its_value(f"my_{part}"),
    "NAMED": lambda word: named_secrets(f"the {word}: {VALUE}") == [VALUE],
    "BEFORE_VALUE": lambda word: logs_in_with(f"--my-{word}="),
    "ARGUMENTS": lambda name: is_credential_name(f"my_{name}") and is_credential_name(name),
    "SHOWN": lambda part: is_secret(f"my {part}", "value"),
    "SHOWN_BEFORE_VALUE": lambda part: masked_text(f"my{part}=value").endswith(f"={MASK}"),
    "IN_URLS": lambda part: identity_of_url(f"https://h.example/x?my{part}=1") == "h.example/x",
    "LAST_WORDS": lambda word: distinguishing_words([f"--my-{word}", "value"], "/") == [],
    "VARIABLES": lambda part: may_be_missed(f"MY_{part.upper()}"),
    "HEADERS": lambda part: is_secret_header(f"X-My-{part.title()}"),
}


@each("table", list(PROOFS))
def test_each_word_of_a_table_is_proved(table: str) -> None:
    assert unproved(getattr(credentials, table), PROOFS[table]) == []


@each("table", list(EXPRESSIONS))
@tried(10)
@given(st.data())
def test_what_an_entry_matches_is_proved(table: str, data: st.DataObject) -> None:
    for entry in getattr(credentials, table):
        text = (
            entry
            if not entry.isascii()
            else data.draw(matching(re.sub(r"\(\?!.*?\)|\\b", "", entry)))
        )
        assert EXPRESSIONS[table](text), text
    assert not EXPRESSIONS[table](NO_WORD)


def test_every_table_has_a_proof() -> None:
    assert tables(credentials) == PROOFS.keys() | EXPRESSIONS.keys()
