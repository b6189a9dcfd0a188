"""What a check says of a secret: of published vectors, of near misses, of any bytes at all."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.core.checks import registry
from pipeguard.core.checks.registry import Outcome, aws_account, known, run
from pipeguard.errors import RuleError
from pipeguard.rulebook.samples import expand
from tests.each import each
from tests.fuzz.budget import tried

SPECS = [
    "entropy 3.5",
    "base64-bytes 64",
    "base64-prefix kubernetes",
    "json-keys a t s",
    "jwt-claim role=admin",
    "jwt-claim kubernetes.io",
    "jwt-not role=anon",
    "only-raise github-crc",
    "not-fails password",
    *sorted(registry._PLAIN),
]


def _made(sample: str | Mapping[str, str], seed: int = 1) -> bytes:
    return expand(sample, seed).encode()


@each("spec", SPECS)
def test_a_check_is_known_by_its_name(spec: str) -> None:
    assert known(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "no-such-check",
        "entropy",
        "entropy high",
        "base64-bytes many",
        "github-crc 3",
        "only-raise",
        "only-raise no-such-check",
    ],
)
def test_a_check_that_there_is_none_of_is_refused(spec: str) -> None:
    assert not known(spec)
    with pytest.raises(RuleError):
        run(spec, b"anything")


@each("spec", SPECS)
@tried(30)
@given(secret=st.binary(max_size=400))
def test_any_bytes_get_an_answer(spec: str, secret: bytes) -> None:
    assert run(spec, secret) in Outcome


@each("spec", SPECS)
@tried(50)
@given(
    secret=st.text(alphabet="eyJ.AZaz09+/=_-:$%{}[]\\n \x00\xff", min_size=1, max_size=300).map(
        str.encode
    )
)
def test_what_looks_like_a_token_gets_an_answer(spec: str, secret: bytes) -> None:
    assert run(spec, secret) in Outcome


@pytest.mark.slow
@pytest.mark.parametrize("size", [2**18, pytest.param(2**20, marks=pytest.mark.exhaustive)])
@each("spec", SPECS)
@each("unit", [b"a", b"[", b"eyJ", b"1", b"-----BEGIN ", b"a:", b"\\n", b"="])
def test_a_long_secret_gets_an_answer(spec: str, unit: bytes, size: int) -> None:
    """In time that is linear: at these sizes a square would be minutes."""
    assert run(spec, unit * (size // len(unit))) in Outcome


def test_nesting_that_no_parser_follows_is_no_token() -> None:
    header = expand({"gen": '{base64url {{"alg":"HS256"}}}'}, 0)
    bomb = expand({"gen": "{base64url %s}" % ("[" * 9000)}, 0)
    assert run("jwt", f"{header}.{bomb}.{'a' * 43}".encode()) is Outcome.FAILS


HOLDS = [
    ("entropy 3.5", "{b62:30}"),
    ("github-crc", "npm_{b62:30}{github-crc}"),
    ("gitlab-routable-crc", "gldt-{b64u:40}.01.{gitlab-crc}"),
    ("atlassian-crc", "ATCTT3{b64u:180}={atlassian-crc}"),
    ("grafana-crc", "glsa_" + "A" * 32 + "_d8dc8af3"),
    ("cloudflare-crc", "cfut_{b62:40}{cloudflare-crc}"),
    ("luhn", "4111 1111 1111 1111"),
    ("iban", "GB82 WEST 1234 5698 7654 32"),
    ("jwt", "{jwt}"),
    ("jwt-claim role=admin", "{jwt role=admin}"),
    ("jwt-claim kubernetes.io", "{jwt kubernetes.io/serviceaccount/namespace=prod}"),
    ("jwt-not role=anon", "{jwt role=admin}"),
    ("pem", "-----BEGIN PRIVATE{} KEY-----\nMIIE{b64:60}\n"),
    ("pem", "-----BEGIN PRIVATE{} KEY-----\\nMIIE{b64:60}\\n"),
    ("pem", "-----BEGIN OPENSSH PRIVATE{} KEY-----\nb3BlbnNzaC1rZXktdjEA{b64:50}"),
    (
        "pem",
        "-----BEGIN RSA PRIVATE{} KEY-----\nProc-Type: 4,ENCRYPTED\n\n{b64:64}\n{b64:64}",
    ),
    ("base64-bytes 64", "{bytes:64}"),
    ("base64-prefix reftkn:", "{base64 reftkn:{b62:30}}"),
    ("json-keys a t s", '{base64 {{"a":"{hex:8}","t":1,"s":2}}}'),
    ("json-keys d", '{{"d": 1}}'),
    ("aws-account", "ASIA{}Y34FZKBOKMUTVV7A"),
    ("not-hex", "{b62:40}"),
    ("mixed", "{b62:20}"),
    ("mixed", "abc123"),
    ("random-case", "hf_{A-Za-z:34}"),
    ("not-identifier", "{b62:30}"),
    ("not-identifier", "qkQGVPmITa"),
    ("not-identifier", "correct#horse"),
    ("password", "{b62:14}"),
    ("password", "tr0ub{}4dor&3"),
    ("userinfo", "app:{b62:14}"),
    ("basic-auth", "{base64 acme:{b62:14}}"),
    ("base58check", "{base58check 80 32 01}"),
    ("base58check", "1111111111111111111114oLvT2"),
    ("bech32", "{upper {bech32 age-secret-key- 32}}"),
    ("stellar", "{stellar}"),
    ("discord", "{base64url 11{d:16}}.{b64u:6}.{b64u:38}"),
    ("telegram", "{d:10}:AA{b64u:33}"),
    ("pypi-macaroon", "pypi-AgEIcHlwaS5vcmcCJ{b64u:140}"),
]

FAILS = [
    ("entropy 3.5", "aaaaaaaabbbb"),
    ("entropy 0.1", ""),
    ("github-crc", "ghp_" + "A" * 36),
    ("gitlab-routable-crc", "glpat-{b64u:27}.01.{la:9}"),
    ("atlassian-crc", "ATATT3{b64u:180}={HEX:8}"),
    ("grafana-crc", "glsa_" + "B" * 32 + "_d8dc8af3"),
    ("cloudflare-crc", "cfut_{b62:40}{hex:8}"),
    ("luhn", "4111111111111112"),
    ("luhn", "four"),
    ("iban", "GB83WEST12345698765432"),
    ("iban", "NO82WEST12345698765432"),
    ("iban", "12"),
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
    ("base64-bytes 64", "{bytes:63}"),
    ("base64-bytes 64", "not base64"),
    ("base64-prefix reftkn:", "{base64 {b62:40}}"),
    ("json-keys a t s", '{base64 {{"a":1}}}'),
    ("json-keys a", "[1]"),
    ("not-hex", "{hex:40}"),
    ("mixed", "words-without-more"),
    ("mixed", ""),
    ("random-case", "getUserNameFromTheDatabaseByItsKey"),
    ("random-case", "hf_{a-z:34}"),
    ("not-identifier", "next_page_token"),
    ("not-identifier", "config.apiKey"),
    ("not-identifier", "/etc/app/v2"),
    ("not-identifier", "HTMLParserV2"),
    ("password", "changeme"),
    ("password", "postgres"),
    ("password", "hunter2"),
    ("userinfo", "postgres:postgres"),
    ("userinfo", "user:passw"),
    ("userinfo", "app:%70ostgres"),
    ("basic-auth", "dXNlcjpwYXNz"),
    ("basic-auth", "{bytes:20}"),
    ("base58check", "{base58:52}"),
    ("base58check", "0OIl"),
    ("bech32", "nsec1{[02-9ac-hj-np-z]:52}qqqqqq"),
    ("bech32", "nsec1bio"),
    ("stellar", "S{b32:55}"),
    ("stellar", "S"),
    ("discord", "{b62:24}.{b62:6}.{b62:27}"),
    ("telegram", "{d:10}:AAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("pypi-macaroon", "pypi-AgEIcHlwaS5vcmc"),
    ("pypi-macaroon", "pypi-AgEIcHlwaS5vcmcCJ"),
]

UNKNOWN = [
    ("github-crc", "ghr_{b62:76}"),
    ("gitlab-routable-crc", "glpat-{b62:20}"),
    ("aws-account", "AKIA{}ABCDEFGHIJKLMNOP"),
    ("pem", "-----BEGIN PRIVATE{} KEY-----\nxIIE{b64:60}\n{b64:64}"),
    ("password", "short1"),
    ("only-raise github-crc", "ghp_{[A]:36}"),
]


@pytest.mark.parametrize(("spec", "recipe"), HOLDS)
def test_a_check_holds(spec: str, recipe: str) -> None:
    assert run(spec, _made({"gen": recipe})) is Outcome.HOLDS
    assert run(f"only-raise {spec}", _made({"gen": recipe})) is Outcome.HOLDS
    assert run(f"not-fails {spec}", _made({"gen": recipe})) is Outcome.HOLDS


@pytest.mark.parametrize(("spec", "recipe"), FAILS)
def test_a_check_fails(spec: str, recipe: str) -> None:
    assert run(spec, _made({"gen": recipe})) is Outcome.FAILS
    assert run(f"only-raise {spec}", _made({"gen": recipe})) is Outcome.UNKNOWN
    assert run(f"not-fails {spec}", _made({"gen": recipe})) is Outcome.FAILS


@pytest.mark.parametrize(("spec", "recipe"), UNKNOWN)
def test_a_check_cannot_tell(spec: str, recipe: str) -> None:
    assert run(spec, _made({"gen": recipe})) is Outcome.UNKNOWN
    assert run(f"not-fails {spec}", _made({"gen": recipe})) is Outcome.HOLDS


def test_a_token_that_was_cut_off_in_its_claims_is_one_still() -> None:
    token = _made({"gen": "{jwt scope=read,write,delete,administer,everything}"})
    assert run("jwt", token[: token.rindex(b".") - 10]) is Outcome.HOLDS
    assert run("jwt", token + b".") is Outcome.HOLDS


def test_an_encrypted_token_is_told_by_its_five_parts() -> None:
    recipe = (
        '{base64url {{"alg":"RSA-OAEP","enc":"A256GCM"}}}.{b64u:40}.{b64u:16}.{b64u:40}.{b64u:22}'
    )
    assert run("jwt", _made({"gen": recipe})) is Outcome.HOLDS


def test_the_account_is_read_from_a_key_id() -> None:
    assert aws_account(b"ASIA" + b"Y34FZKBOKMUTVV7A") == "609629065308"
    assert aws_account(b"AKIA" + b"7" * 16) is None  # thirteen digits
    assert aws_account(b"AKIA" + b"ABCDEFGHIJKLMNOP") is None  # made before accounts stood in them
    assert aws_account(b"no key") is None
