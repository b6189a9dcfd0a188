"""Every format of secret can be made, its checksum holds, and nothing published is among them."""

import base64
import json
from binascii import crc_hqx
from hashlib import sha256
from random import Random
from zlib import crc32

import pytest

from benchmarks.detection.letters import BASE58, BASE62
from benchmarks.detection.mint import Use, fill, formats, mint
from tests.each import each

pytestmark = pytest.mark.exhaustive  # holds the cases of the benchmark, not the program
ROWS = 180
WITHOUT_CHOICE = {  # placeholders that are the same each time, or of a few forms
    *("slack-placeholder", "openai-placeholder", "stripe-placeholder", "anthropic-placeholder"),
    *("github-placeholder", "aws-id-placeholder", "bracket-placeholder", "variable-placeholder"),
    *("zero-uuid", "url-placeholder", "url-variable", "bearer-placeholder", "test-card"),
}
USED_BY_NAME = [
    *("github-pat", "aws-access-key-id", "aws-secret-key", "stripe-live-key", "openai-key"),
    *("slack-bot-token", "private-key-pem", "jwt", "postgres-url", "password"),
]


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def in_base62(text: str) -> int:
    number = 0
    for letter in text:
        number = number * 62 + BASE62.index(letter)
    return number


@each("name", list(formats()))
def test_a_format_is_the_same_for_a_seed_and_another_for_another(name: str) -> None:
    first, again, other = mint(name, "a"), mint(name, "a"), mint(name, "b")
    assert first == again
    assert name in WITHOUT_CHOICE or first != other
    assert "<" not in first or name in {"passport-mrz", "nuget-config-password"}


def test_the_table_covers_the_formats_there_are() -> None:
    rows = {one.row for one in formats().values() if one.use is not Use.INNOCENT}
    assert len(rows) >= ROWS
    assert set(USED_BY_NAME) <= set(formats())


def test_a_recipe_with_an_unknown_name_is_refused() -> None:
    dice = Random(1)  # noqa: S311  no key of anything
    with pytest.raises(ValueError, match="no alphabet and no generator"):
        fill("<b61*3>", dice)
    with pytest.raises(ValueError, match="not closed"):
        fill("<b62*3", dice)


def test_the_checksum_of_github_is_the_published_one() -> None:
    body = "A" * 30
    assert crc32(body.encode()) == in_base62("0uCPlr")


def from_base58(text: str) -> bytes:
    number = sum(BASE58.index(letter) * int(58**place) for place, letter in enumerate(text[::-1]))
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


@each("seed", ["one", "two", "three"])
def test_checksums_check(seed: str) -> None:
    """One token of each kind; rules would miss a wrong one, and lower the result."""
    for name in ("github-pat", "github-oauth-token", "npm-token"):
        body = mint(name, seed)[4:]
        assert in_base62(body[30:]) == crc32(body[:30].encode())
    atlassian = mint("atlassian-api-token", seed)
    assert int(atlassian[-8:], 16) == crc32(atlassian[:-8].encode())
    wallet = from_base58(mint("bitcoin-wif", seed))
    assert wallet[-4:] == sha256(sha256(wallet[:-4]).digest()).digest()[:4]
    stellar = base64.b32decode(mint("stellar-seed", seed))
    assert crc_hqx(stellar[:33], 0) == int.from_bytes(stellar[33:], "little")
    header, claims, _ = mint("jwt", seed).split(".")
    assert {"alg", "typ"} <= json.loads(unpadded(header)).keys()
    assert isinstance(json.loads(unpadded(claims)), dict)
