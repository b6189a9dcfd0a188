"""Values that are evidently not secrets, and values that must not be taken for such."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks import placeholders
from pipeguard.rulebook.samples import expand
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.budget import tried

CASES = read_cases(__file__)


@each(
    "text",
    [
        *CASES["what_stands_for_a_secret_is_told_from_one"],
        *("ghp_" + "x" * 36, "AKIAIOSFODNN7" + "EXAMPLE"),
    ],
)
def test_what_stands_for_a_secret_is_told_from_one(text: str) -> None:
    assert placeholders.is_placeholder(text.encode())


HEADER = '{base64url {{"alg":"HS256","typ":"JWT"}}}'
CLAIMS = '{base64url {{"sub":"1234567890","name":"John Doe","iat":1516239022}}}'
RFC_7515 = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl"
PUBLISHED = [
    # docs.aws.amazon.com; learn.microsoft.com, Azurite; docs.stripe.com; docs.github.com; jwt.io
    "wJalrXUtnFEMI/K7MDENG/{}bPxRfiCYEXAMPLEKEY",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2{}UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "sk_test_{}4eC39HqLyjWDarjtT1zdp7dc",
    "ghp_{}16C7e42F292c6912E7710c838347Ae178B4a",
    # Laravel, of any cost; FastAPI; Google Cloud; Slack; Telegram
    "$2y$10${}92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi",
    "$2b$12${}92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi",
    "09d25e094faa6ca2556c818166b7a956{}3b93f7099f6f0f4caa6cf63b88e8d3e7",
    "xoxb-17653672481-{}19874698323-pdFZKVeTuE8sk7oOcBrzySqM",
]


@pytest.mark.parametrize(
    "claims",
    [
        CLAIMS,
        '{base64url {{"sub":"1234567890","admin":true}}}',
        RFC_7515,
        '{base64url {{"some":"payload"}}}',
        '{base64url {{"foo":"bar","nbf":1444478400}}}',
        '{base64url {{"name": "John Doe", "sub": "1234567890"}}}',
    ],
)
def test_a_token_with_the_claims_of_a_manual_is_none_however_it_is_signed(claims: str) -> None:
    text = expand({"gen": f"{HEADER}.{claims}.{{b64u:43}}"}, 0).encode()
    assert placeholders.is_placeholder(text)
    for one in ('"sub":"1234567891"', '"some":"payload","user":"ida"', '"some":"payloads"'):
        other = expand({"gen": f"{HEADER}.{{base64url {{{{{one}}}}}}}.{{b64u:43}}"}, 0)
        assert not placeholders.is_placeholder(other.encode())


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_what_a_vendor_prints_is_no_secret_but_one_letter_off_it_is(recipe: str) -> None:
    text = expand({"gen": recipe}, 0).encode()
    assert placeholders.is_placeholder(text)
    assert not placeholders.is_placeholder(text[:-1] + b"Z")


RECIPES = [
    *("ghp_{b62:36}", "sk-ant-api03-{b64u:93}AA", "AKIA{b32:16}", "glpat-{b64u:20}"),
    *("{d:10}:AA{b64u:33}", "{uuid}", "{b64:40}", "secret_{b62:43}"),
]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("glued", ["", "example", "-example", "xxxxxxxx", "_test_changeme", "..."])
def test_a_word_glued_to_a_live_key_does_not_hide_it(recipe: str, glued: str) -> None:
    keys = [expand({"gen": recipe}, seed) + glued for seed in range(20)]
    assert [key for key in keys if placeholders.is_placeholder(key.encode())] == []


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Wq7 MY-Key Tm2", "Wq7 - Tm2"),
        ("Wq7Examples Testing9 tests", "Wq7 9 s"),
        ("DeadBeef<Wq7>AaAaAa%(Ab)S${x}", ""),
        ("mykey N/A an7 7.a.7", "mykey  an7 7..7"),
    ],
)
def test_fillers_are_taken_out_in_any_case_and_the_rest_stays_as_it_is(
    text: str, rest: str
) -> None:
    assert placeholders._without_fillers(text.encode()) == rest.encode()


def test_a_megabyte_costs_no_more_than_its_first_kilobytes() -> None:
    assert placeholders.is_placeholder(b"<" * 2**20)


@pytest.mark.parametrize(
    ("text", "bits"), [(b"", 0.0), (b"aaaa", 0.0), (b"abab", 1.0), (bytes(range(256)), 8.0)]
)
def test_entropy_is_measured_in_bits_for_each_byte(text: bytes, bits: float) -> None:
    assert placeholders.entropy(text) == pytest.approx(bits)


def test_only_the_first_kilobytes_are_measured() -> None:
    start = b"kZ8q" * (placeholders.MEASURED_BYTES // 4)
    assert placeholders.entropy(start + b"x" * 2**20) == placeholders.entropy(start)


@tried(100)
@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_either_alphabet_is_read_padded_or_not(data: bytes, safe: bool, padded: bool) -> None:
    text = base64.urlsafe_b64encode(data) if safe else base64.b64encode(data)
    assert placeholders.base64_decoded(text if padded else text.rstrip(b"=")) == data


@pytest.mark.parametrize("text", [b"a", b"ab c", b"a.b", b"ab=c", b"\xff\xff\xff\xff", b"abcde"])
def test_what_is_no_base64_is_none(text: bytes) -> None:
    assert placeholders.base64_decoded(text) is None
