"""Formats of issuers: published vectors, and near misses."""

import hashlib

import pytest

from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.checks.registry import run
from pipeguard.detect.checks.tokens import has_phrase, is_printed_phrase, seed_phrase
from pipeguard.detect.words import bip39
from pipeguard.rulebook.samples import expand
from tests.detect.checks.outcomes import assert_outcome, made, rows
from tests.each import each

HOLDS = [
    ("jwt", "{jwt}"),
    ("jwt-claim role=admin", "{jwt role=admin}"),
    ("jwt-claim kubernetes.io", "{jwt kubernetes.io/serviceaccount/namespace=prod}"),
    ("jwt-not role=anon", "{jwt role=admin}"),
    ("pem", "-----BEGIN PRIVATE{} KEY-----\nMIIE{b64:60}\n"),
    ("pem", "-----BEGIN PRIVATE{} KEY-----\\nMIIE{b64:60}\\n"),
    ("pem", "-----BEGIN OPENSSH PRIVATE{} KEY-----\nb3BlbnNzaC1rZXktdjEA{b64:50}"),
    ("pem", "-----BEGIN RSA PRIVATE{} KEY-----\nProc-Type: 4,ENCRYPTED\n\n{b64:64}\n{b64:64}"),
    ("pem", "3082012230{hex:80}"),
    ("private-key", "-----BEGIN PRIVATE{} KEY-----"),
    ("private-key", "MIGHAgEAMBMG{}ByqGSM49{}AgEGCCqGSM49AwEHBG0wawIBAQQg{b64u:136}"),
    ("private-key", "MIGHAgEAMBMG{}ByqGSM49{}AgEGCCqGSM49AwEHBG0wawIBAQQg\r\n{b64:64}\r\n{b64:72}"),
    ("private-key", "MHcCAQEEI{[A-P]:1}{b64:42}oAoGCCqGSM49AwEHoUQDQgAE{b64:86}"),
    ("private-key", "302e0201{}00300506032b657004220420{hex:64}"),
    ("private-key", "6f70656e{}7373682d6b65792d763100{hex:400}"),
    ("private-key", "3082098f{}020103308209550609{}2a864886f70d010701a08209460482094230{hex:2000}"),
    ("base64-bytes 64", "{bytes:64}"),
    ("json-keys a t s", '{base64 {{"a":"{hex:8}","t":1,"s":2}}}'),
    ("json-keys d", '{{"d": 1}}'),
    ("discord", "{base64url 11{d:16}}.{b64u:6}.{b64u:38}"),
    ("telegram", "{d:10}:AA{b64u:33}"),
    ("pypi-macaroon", "pypi-AgEIcHlwaS5vcmcCJ{b64u:140}"),
]

FAILS = [
    ("jwt", "{b62:20}.{b62:30}.{b62:40}"),
    ("jwt", "{jwt alg=none}"),
    ("jwt", '{base64url {{"alg":"HS256"}}}'),
    ("jwt", '{base64url {{"alg":"HS256"}}}.{base64url {{"a":1}}}.short'),
    ("jwt-claim role=admin", "{jwt role=anon}"),
    ("jwt-claim kubernetes.io", "{jwt}"),
    ("jwt-not role=anon", "{jwt role=anon}"),
    (
        "pem",
        (
            "-----BEGIN PRIVATE{} KEY----- stands at the head of a file that holds such a key, "
            "and of nothing else that you will ever see in there"
        ),
    ),
    ("pem", "-----BEGIN PRIVATE{} KEY-----\nMIIE"),
    ("private-key", "MIIEvQIB{}ADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ{b64:80}"),  # two lines
    ("private-key", "MIIBIjAN{}BgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA{b64:348}"),  # a public key
    ("private-key", "30290201{}0104067075626c6963a01c{hex:56}"),  # a packet of SNMP
    ("private-key", "3082098f{}0201033082095502{}2a864886f70d010701a08209460482094230{hex:2000}"),
    ("private-key", "MHcCAQEEI"),
    ("base64-bytes 64", "{bytes:63}"),
    ("base64-bytes 64", "not base64"),
    ("json-keys a t s", '{base64 {{"a":1}}}'),
    ("json-keys a", "[1]"),
    ("discord", "{b62:24}.{b62:6}.{b62:27}"),
    ("telegram", "{d:10}:AAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("pypi-macaroon", "pypi-AgEIcHlwaS5vcmc"),
    ("pypi-macaroon", "pypi-AgEIcHlwaS5vcmcCJ"),
]

UNKNOWN = [("pem", "-----BEGIN PRIVATE{} KEY-----\nxIIE{b64:60}\n{b64:64}")]


@rows(HOLDS, FAILS, UNKNOWN)
def test_a_check_has_its_answer(spec: str, recipe: str, outcome: Outcome) -> None:
    assert_outcome(spec, recipe, outcome)


def test_nesting_that_no_parser_follows_is_no_token() -> None:
    header = expand({"gen": '{base64url {{"alg":"HS256"}}}'}, 0)
    bomb = expand({"gen": "{base64url %s}" % ("[" * 9000)}, 0)
    assert run("jwt", f"{header}.{bomb}.{'a' * 43}".encode()) is False


def test_a_token_that_was_cut_off_in_its_claims_is_one_still() -> None:
    token = made("{jwt scope=read,write,delete,administer,everything}")
    assert run("jwt", token[: token.rindex(b".") - 10]) is True
    assert run("jwt", token + b".") is True


@pytest.mark.parametrize(("until", "found"), [(1500000000, False), (1999999999, True)])
def test_a_token_that_expired_years_ago_opens_nothing(until: int, found: bool) -> None:
    claims = f'{{base64url {{{{"sub":"248289761001","exp":{until}}}}}}}'
    token = made('{base64url {{"alg":"HS256"}}}.' + claims + ".{b64u:43}")
    assert run("jwt", token) is found


def test_an_encrypted_token_is_told_by_its_five_parts() -> None:
    recipe = (
        '{base64url {{"alg":"RSA-OAEP","enc":"A256GCM"}}}.{b64u:40}.{b64u:16}.{b64u:40}.{b64u:22}'
    )
    assert run("jwt", made(recipe)) is True


LIST = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"  # bip-0039/english.txt


def test_the_words_are_those_of_the_standard() -> None:
    lines = "".join(f"{word}\n" for word in bip39.in_order("WORDS"))
    assert hashlib.sha256(lines.encode()).hexdigest() == LIST


@each("size", [16, 20, 24, 28, 32])
def test_a_phrase_is_found_among_other_words(size: int) -> None:
    words = [word.encode() for word in seed_phrase(bytes(range(7, 7 + size)))]
    assert len(words) == size * 3 // 4
    assert has_phrase([b"my", b"words", b"are", *words, b"xyzzy"])
    assert not has_phrase(words[:-1])


def test_a_wrong_checksum_is_no_seed_phrase() -> None:
    words = [word.encode() for word in seed_phrase(bytes(range(16)))]
    others = [word.encode() for word in bip39.in_order("WORDS") if word.encode() not in words]
    assert sum(has_phrase([*words[:-1], word]) for word in others) < len(others) // 10


def test_what_the_standard_prints_is_known() -> None:
    assert not has_phrase([word.encode() for word in seed_phrase(bytes(16))])
    assert not has_phrase([word.encode() for word in bip39.in_order("WORDS")[:24]])
    printed = [word.encode() for word in seed_phrase(b"\x7f" * 16)]
    assert has_phrase(printed)
    assert is_printed_phrase([b"x", *printed])
    assert not is_printed_phrase([word.encode() for word in seed_phrase(bytes(range(16)))])


def test_names_that_repeat_their_words_are_no_seed_phrase() -> None:
    words = [bip39.in_order("WORDS")[at] for at in (205, 929, 1700, 363)]
    names = [word.encode() for word in words for _ in range(2)] * 6
    assert not has_phrase(names)
