"""Every format of secret can be made, its checksum holds, and nothing published is among them."""

import base64
import json
import re
from binascii import crc_hqx
from hashlib import sha256
from random import Random
from zlib import crc32

import pytest

from benchmarks.detection import credentials
from benchmarks.detection.letters import BASE58, BASE62
from benchmarks.detection.mint import Use, fill, formats, mint
from tests.each import each

pytestmark = pytest.mark.exhaustive  # holds the cases of the benchmark, not the program
SEEDS = ["one", "two", "three"]
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


def from_base58(text: str) -> bytes:
    number = 0
    for letter in text:
        number = number * 58 + BASE58.index(letter)
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


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


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["github-pat", "github-oauth-token", "npm-token"])
def test_github_and_npm_tokens_check(name: str, seed: str) -> None:
    body = mint(name, seed)[4:]
    assert in_base62(body[30:]) == crc32(body[:30].encode())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_routable_token_tells_its_length_and_checks(seed: str) -> None:
    token = mint("gitlab-routable-pat", seed)
    payload, version, tail = token.removeprefix("glpat-").split(".")
    assert (version, int(tail[:2], 36)) == ("01", len(payload))
    assert int(tail[2:], 36) == crc32(token[:-7].encode())
    content = unpadded(payload)
    assert content[-content[-1] - 1 : -1].startswith(b"o:")


@pytest.mark.parametrize("seed", SEEDS)
def test_tokens_with_a_crc_in_hex_check(seed: str) -> None:
    atlassian = mint("atlassian-api-token", seed)
    assert int(atlassian[-8:], 16) == crc32(atlassian[:-8].encode())
    cloudflare = mint("cloudflare-key", seed).removeprefix("cfk_")
    assert (len(cloudflare), int(cloudflare[40:], 16)) == (48, crc32(cloudflare[:40].encode()))
    secret, check = mint("grafana-account-token", seed).rsplit("_", 1)
    assert bytes.fromhex(check) == crc32(secret.encode()).to_bytes(4, "little")


def test_the_checksum_of_grafana_is_the_published_one() -> None:
    assert crc32(b"glsa_" + b"A" * 32).to_bytes(4, "little").hex() == "d8dc8af3"


@pytest.mark.parametrize(
    ("name", "size_bytes", "index", "signature"),
    [
        ("azure-cosmos-key", 64, 76, "ACDb"),
        ("azure-storage-key", 64, 76, "+ASt"),
        ("azure-event-hub-key", 32, 33, "+AEh"),
        ("azure-redis-key", 32, 33, "AzCa"),
    ],
)
def test_a_key_of_fixed_size_decodes(
    name: str, size_bytes: int, index: int, signature: str
) -> None:
    key = mint(name, "one")
    assert len(base64.b64decode(key, validate=True)) == size_bytes
    assert key[index : index + 4] == signature


@pytest.mark.parametrize("name", ["jwt", "supabase-service-role", "kubernetes-account-token"])
def test_a_jwt_has_a_header_claims_and_a_signature(name: str) -> None:
    header, claims, signature = mint(name, "one").split(".")
    assert json.loads(unpadded(header))["alg"] == "HS256"
    assert isinstance(json.loads(unpadded(claims)), dict)
    assert len(unpadded(signature)) == 32


@pytest.mark.parametrize(("name", "place"), [("pypi-token", 8), ("pypi-test-token", 13)])
def test_an_index_token_is_a_macaroon(name: str, place: int) -> None:
    content = unpadded(mint(name, "one").removeprefix("pypi-"))
    assert content[:3] == bytes([2, 1, place])
    assert content[3 + place : 5 + place] == bytes([2, 36])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "start", "size_bytes"),
    [
        ("bitcoin-wif", b"\x80", 33),
        ("bitcoin-compressed-wif", b"\x80", 34),
        ("bitcoin-bip38", b"\x01\x42", 39),
        ("bip32-private-key", bytes.fromhex("0488ade4"), 78),
        ("bip32-public-key", bytes.fromhex("0488b21e"), 78),
    ],
)
def test_base58_of_wallets_checks(name: str, start: bytes, size_bytes: int, seed: str) -> None:
    content = from_base58(mint(name, seed))
    body, check = content[:-4], content[-4:]
    assert check == sha256(sha256(body).digest()).digest()[:4]
    assert body.startswith(start)
    assert len(body) == size_bytes


def residue(text: str) -> int:
    """Of Bech32, as a division of polynomials over five bits (BIP-173)."""
    prefix, _, data = text.lower().rpartition("1")
    letters = [ord(one) >> 5 for one in prefix] + [0] + [ord(one) & 31 for one in prefix]
    letters += [credentials.BECH32.index(one) for one in data]
    value = 1
    for letter in letters:
        top = value >> 25
        value = (value & 0x1FFFFFF) << 5 ^ letter
        value ^= 0x3B6A57B2 * (top & 1) ^ 0x26508E6D * (top >> 1 & 1) ^ 0x1EA119FA * (top >> 2 & 1)
        value ^= 0x3D4233DD * (top >> 3 & 1) ^ 0x2A1462B3 * (top >> 4 & 1)
    return value


def test_a_published_bech32_has_the_residue_of_one() -> None:
    assert residue("A12UEL5L") == 1  # BIP-173, "Test vectors"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "length"), [("age-secret-key", 74), ("nostr-key", 63)])
def test_bech32_keys_check(name: str, length: int, seed: str) -> None:
    key = mint(name, seed)
    assert (residue(key), len(key)) == (1, length)


def test_a_stellar_seed_checks() -> None:
    content = base64.b32decode(mint("stellar-seed", "one"))
    assert (content[0], len(content)) == (0x90, 35)
    assert crc_hqx(content[:33], 0) == int.from_bytes(content[33:], "little")


@pytest.mark.parametrize(("name", "count"), [("bip39-12", 12), ("bip39-24", 24)])
def test_a_seed_phrase_checks(name: str, count: int) -> None:
    places = {text: index for index, text in credentials.SEED_WORDS}
    words = mint(name, "one").split()
    bits = "".join(f"{places[word]:011b}" for word in words)
    entropy, check = bits[: count * 32 // 3], bits[count * 32 // 3 :]
    digest = sha256(int(entropy, 2).to_bytes(len(entropy) // 8, "big")).digest()
    assert len(words) == count
    assert f"{digest[0]:08b}".startswith(check)


def test_the_words_of_seed_phrases_have_their_places() -> None:
    places = {text: index for index, text in credentials.SEED_WORDS}
    for byte, last in ((b"\0", "about"), (b"\xff", "wrong")):  # the published vectors of 128 bits
        spare = int.from_bytes(byte, "big") & 0x7F
        assert places[last] == spare << 4 | sha256(byte * 16).digest()[0] >> 4


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("private-key-pem", b"\x30\x82"),
        ("rsa-private-key", b"\x30\x82"),
        ("openssh-private-key", b"openssh-key-v1\0"),
        ("public-key-pem", b"\x30\x82"),
    ],
)
def test_an_armour_holds_what_it_says(name: str, start: bytes) -> None:
    lines = mint(name, "one").split("\n")
    assert re.fullmatch(r"-{5}BEGIN [A-Z ]+-{5}", lines[0])
    assert lines[-1] == lines[0].replace("BEGIN", "END")
    assert max(map(len, lines[1:-1])) == 64
    assert base64.b64decode("".join(lines[1:-1])).startswith(start)


def test_a_discord_token_begins_with_an_id_of_its_time() -> None:
    number = int(unpadded(mint("discord-bot-token", "one").split(".")[0]))
    assert 1_451_606_400_000 <= (number >> 22) + 1_420_070_400_000 <= 1_767_225_600_000


def test_a_docker_configuration_decodes() -> None:
    auths = json.loads(mint("docker-config", "one"))["auths"]
    (entry,) = auths.values()
    assert base64.b64decode(entry["auth"]).decode().count(":") == 1


@pytest.mark.parametrize("name", ["gcp-service-account", "gcp-user-credentials", "jwk-private"])
def test_a_credential_in_json_is_json(name: str) -> None:
    assert isinstance(json.loads(mint(name, "one")), dict)


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("aws-access-key-id", 20),
        ("aws-secret-key", 40),
        ("google-api-key", 39),
        ("gcs-hmac-id", 61),
        ("openai-key", 51),
        ("anthropic-key", 108),
        ("github-pat", 40),
        ("github-fine-grained-pat", 93),
        ("sendgrid-key", 69),
        ("azure-cosmos-key", 88),
        ("azure-event-hub-key", 44),
        ("azure-registry-key", 52),
        ("azure-openai-key", 84),
        ("azure-devops-pat", 84),
        ("azure-functions-key", 56),
        ("entra-client-secret", 40),
        ("bitcoin-wif", 51),
        ("bitcoin-compressed-wif", 52),
        ("bitcoin-bip38", 58),
        ("bip32-private-key", 111),
        ("stellar-seed", 56),
        ("rapidapi-key", 50),
        ("vin", 17),
    ],
)
def test_a_format_has_its_published_length(name: str, length: int) -> None:
    assert {len(mint(name, seed)) for seed in SEEDS} == {length}
