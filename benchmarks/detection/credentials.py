"""Generators of keys and tokens with a checksum, a signature or an encoding."""

import base64
import json
import re
from binascii import crc_hqx
from collections.abc import Mapping
from hashlib import sha256
from random import Random
from uuid import UUID
from zlib import crc32

from benchmarks.detection.letters import (
    BASE62,
    Generator,
    base58_of,
    base58check_of,
    base64_of,
    base64url_of,
    in_base,
    random_text,
)

WORDS = [
    "harbour", "ledger", "orchard", "lantern", "meadow", "granite", "compass", "willow",
    "beacon", "saddle", "copper", "thistle", "anchor", "juniper", "cobalt", "falcon", "heron",
    "maple", "quarry", "ridge", "summit", "tundra", "velvet", "walnut", "zephyr",
]  # fmt: skip
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # BIP-173
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
# The first and the last 32 words of the list of BIP-39; the latter begin at 2016.
FIRST_WORDS = [
    "abandon", "ability", "able", "about", "above", "absent", "absorb", "abstract", "absurd",
    "abuse", "access", "accident", "account", "accuse", "achieve", "acid", "acoustic",
    "acquire", "across", "act", "action", "actor", "actress", "actual", "adapt", "add",
    "addict", "address", "adjust", "admit", "adult", "advance",
]  # fmt: skip
LAST_WORDS = [
    "winter", "wire", "wisdom", "wise", "wish", "witness", "wolf", "woman", "wonder", "wood",
    "wool", "word", "work", "world", "worry", "worth", "wrap", "wreck", "wrestle", "wrist",
    "write", "wrong", "yard", "year", "yellow", "you", "young", "youth", "zebra", "zero",
    "zone", "zoo",
]  # fmt: skip
SEED_WORDS = [*enumerate(FIRST_WORDS), *enumerate(LAST_WORDS, 2016)]
PEM_BYTES = {"RSA": 1190, "EC": 118, "DSA": 440, "OPENSSH": 300, "ENCRYPTED": 1230, "PGP": 620}
LINE = 64  # of PEM (RFC 7468, section 2)
FIRST_SNOWFLAKE_MS = 1_420_070_400_000  # 2015, where Discord's ids begin
_2016_MS, _2026_MS = 1_451_606_400_000, 1_767_225_600_000


def word(dice: Random, _: str) -> str:
    """A name for a database, a user or a machine."""
    return dice.choice(WORDS)


def host(dice: Random, _: str) -> str:
    """A name of a machine."""
    return f"{dice.choice(WORDS)}-{dice.randint(1, 9)}.{dice.choice(WORDS)}.internal"


def password(dice: Random, _: str) -> str:
    """A password as a password manager makes it."""
    return random_text(dice, "b62", 9) + dice.choice("!#%*") + random_text(dice, "b62", 9)


def url_password(dice: Random, _: str) -> str:
    """A password that needs no escapes in a URL."""
    return random_text(dice, "b62", 18)


def uuid(dice: Random, _: str) -> str:
    """A random UUID."""
    return str(UUID(int=dice.getrandbits(128), version=4))


def random_base64(dice: Random, size: str) -> str:
    """Base64 of random bytes of a size."""
    return base64_of(dice.randbytes(int(size)))


def random_base58(dice: Random, size: str) -> str:
    """Base58 of random bytes of a size."""
    return base58_of(bytes([dice.randint(1, 255)]) + dice.randbytes(int(size) - 1))


def as_base64(_: Random, text: str) -> str:
    """Base64 of a text."""
    return base64_of(text.encode())


def as_base64url(_: Random, text: str) -> str:
    """Base64 for URLs of a text."""
    return base64url_of(text.encode())


def crc62(dice: Random, prefix: str) -> str:
    """A token of GitHub or npm: thirty characters, then their CRC-32 in base 62."""
    body = random_text(dice, "b62", 30)
    return prefix + body + in_base(crc32(body.encode()), BASE62, 6)


def gitlab_routable(dice: Random, prefix: str) -> str:
    """A token of GitLab: payload, version, length and CRC-32, the last two in base 36."""
    routing = f"o:{random_text(dice, 'la', 4)}\nu:{random_text(dice, 'la', 3)}".encode()
    payload = base64url_of(dice.randbytes(16) + routing + bytes([len(routing)]))
    token = f"{prefix}{payload}.01.{in_base(len(payload), BASE36, 2)}"
    return token + in_base(crc32(token.encode()), BASE36, 7)


def atlassian(dice: Random, prefix: str) -> str:
    """A token of Atlassian, which ends with the CRC-32 of the rest."""
    token = f"{prefix}xFfGF0{random_text(dice, 'b64u', 172)}="
    return f"{token}{crc32(token.encode()):08X}"


def cloudflare(dice: Random, prefix: str) -> str:
    """A token of Cloudflare: forty characters and their CRC-32."""
    body = random_text(dice, "b62", 40)
    return f"{prefix}{body}{crc32(body.encode()):08x}"


def grafana(dice: Random, _: str) -> str:
    """A token of a Grafana service account, whose CRC-32 is in little-endian order."""
    token = f"glsa_{random_text(dice, 'b62', 32)}"
    return f"{token}_{crc32(token.encode()).to_bytes(4, 'little').hex()}"


def keyed(dice: Random, argument: str) -> str:
    """A key of Microsoft: a fixed number of bytes in base64, with a signature at an index."""
    size, index, signature = argument.split(",")
    text = base64_of(dice.randbytes(int(size)))
    return text[: int(index)] + signature + text[int(index) + len(signature) :]


def data_centre(dice: Random, _: str) -> str:
    """A token of Atlassian Data Center: base64 of a number and twenty bytes."""
    return base64_of(f"{dice.randrange(10**11, 10**12)}:".encode() + dice.randbytes(20))


def pypi(dice: Random, which: str) -> str:
    """A token of a package index: a macaroon of two fields, a caveat and a signature."""
    place = {"main": "pypi", "test": "test.pypi"}[which] + ".org"
    identifier = uuid(dice, "")
    fields = bytes([2, 1, len(place)]) + place.encode() + bytes([2, 36]) + identifier.encode()
    caveat = json.dumps([1, [random_text(dice, "az", 9)]]).encode()
    tail = b"\0\0" + bytes([2, len(caveat)]) + caveat + b"\0\0\x06\x20" + dice.randbytes(32)
    return f"pypi-{base64url_of(fields + tail)}"


def jwt(dice: Random, claims: str) -> str:
    """A signed token: header, claims and a signature of 32 bytes (RFC 7519)."""
    header = base64url_of(b'{"alg":"HS256","typ":"JWT"}')
    return f"{header}.{base64url_of(claims.encode())}.{base64url_of(dice.randbytes(32))}"


def discord(dice: Random, _: str) -> str:
    """A token of a Discord bot: its id in base64, six characters of time, a signature."""
    return f"{base64url_of(snowflake(dice, '').encode())}.{_base62(dice, 6)}.{_base62(dice, 38)}"


def snowflake(dice: Random, _: str) -> str:
    """An id of Discord, which contains its time of creation, between 2016 and 2026."""
    milliseconds = dice.randint(_2016_MS, _2026_MS) - FIRST_SNOWFLAKE_MS
    return str(milliseconds << 22 | dice.getrandbits(22))


def _base62(dice: Random, length: int) -> str:
    return random_text(dice, "b62", length)


def pem(dice: Random, label: str) -> str:
    """A private key in PEM (RFC 7468): bytes that begin as such a key does."""
    kind = label.split()[0] if label != "PRIVATE KEY" else "EC"
    size = PEM_BYTES[kind]
    if kind == "OPENSSH":
        content = b"openssh-key-v1\0\0\0\0\x04none" + dice.randbytes(size)
    elif kind == "PGP":
        content = bytes([0x95, *(size - 3).to_bytes(2, "big"), 4]) + dice.randbytes(size - 4)
    else:
        content = b"\x30\x82" + (size + 3).to_bytes(2, "big") + b"\2\1\0" + dice.randbytes(size)
    lines = re.findall(f".{{1,{LINE}}}", base64_of(content))
    if kind == "PGP":
        lines = ["", *lines, f"={base64_of(_crc24(content).to_bytes(3, 'big'))}"]
    return armour(label, lines)


def _crc24(content: bytes) -> int:
    """The checksum of an OpenPGP armour (RFC 4880, section 6.1)."""
    register = 0xB704CE
    for byte in content:
        register ^= byte << 16
        for _ in range(8):
            register <<= 1
            if register & 0x1000000:
                register ^= 0x1864CFB
    return register


def public_pem(dice: Random, label: str) -> str:
    """A public key or a certificate in PEM."""
    content = b"\x30\x82\x01\x22\x30\x0d" + dice.randbytes(290)
    return armour(label, re.findall(f".{{1,{LINE}}}", base64_of(content)))


def armour(label: str, lines: list[str]) -> str:
    """Lines between the BEGIN and END of PEM."""
    dashes = "-" * 5
    return "\n".join([f"{dashes}BEGIN {label}{dashes}", *lines, f"{dashes}END {label}{dashes}"])


def tag(_: Random, text: str) -> str:
    """A text in angle brackets, which a recipe cannot have otherwise."""
    return f"<{text}>"


def repeated(_: Random, argument: str) -> str:
    """A text, repeated."""
    times, text = argument.split(",")
    return text * int(times)


def private_key(dice: Random, _: str) -> str:
    """A private key in PKCS #8."""
    return pem(dice, "PRIVATE KEY")


def escaped_key(dice: Random, _: str) -> str:
    """A private key in PKCS #8, as JSON strings escape it."""
    return private_key(dice, "").replace("\n", "\\n") + "\\n"


def wif(dice: Random, compressed: str) -> str:
    """A Bitcoin key as wallets export it (WIF)."""
    return base58check_of(b"\x80" + dice.randbytes(32) + b"\1" * (compressed == "true"))


def bip38(dice: Random, _: str) -> str:
    """A Bitcoin key that a passphrase protects (BIP-38)."""
    return base58check_of(b"\x01\x42" + b"\xe0" + dice.randbytes(36))


def extended_key(dice: Random, version: str) -> str:
    """A key of BIP-32; its version says whether it is private."""
    own = (b"\0" if version.endswith("ade4") else b"\2") + dice.randbytes(32)
    content = bytes.fromhex(version) + b"\3" + dice.randbytes(4 + 4 + 32) + own
    return base58check_of(content)


def bech32(dice: Random, prefix: str) -> str:
    """32 bytes in Bech32 (BIP-173); in capitals if the prefix is."""
    lower = prefix.lower()
    bits = int.from_bytes(dice.randbytes(32), "big") << 4  # 260 bits, that is 52 groups of five
    values = [bits >> shift & 31 for shift in range(255, -1, -5)]
    expanded = [ord(letter) >> 5 for letter in lower] + [0] + [ord(letter) & 31 for letter in lower]
    check = _polymod([*expanded, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [check >> shift & 31 for shift in range(25, -1, -5)]
    text = f"{lower}1{''.join(BECH32[value] for value in values)}"
    return text.upper() if prefix.isupper() else text


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(
            (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
        ):
            check ^= generator if top >> bit & 1 else 0
    return check


def stellar(dice: Random, _: str) -> str:
    """A seed of Stellar: a version byte, 32 bytes and a CRC-16, in base 32."""
    content = b"\x90" + dice.randbytes(32)
    return base64.b32encode(content + crc_hqx(content, 0).to_bytes(2, "little")).decode()


def bip39(dice: Random, count: str) -> str:
    """A seed phrase, whose last bits are of the SHA-256 of the others (BIP-39)."""
    words = int(count)
    check_bits = words // 3
    while True:
        drawn = dice.choices(SEED_WORDS, k=words)
        bits = 0
        for index, _ in drawn:
            bits = bits << 11 | index
        entropy = (bits >> check_bits).to_bytes(words * 4 // 3, "big")
        if sha256(entropy).digest()[0] >> (8 - check_bits) == bits & (1 << check_bits) - 1:
            return " ".join(text for _, text in drawn)


GENERATORS: Mapping[str, Generator] = {
    "word": word,
    "host": host,
    "pass": password,
    "pass-url": url_password,
    "uuid": uuid,
    "b64bytes": random_base64,
    "b58bytes": random_base58,
    "base64": as_base64,
    "base64u": as_base64url,
    "crc62": crc62,
    "gitlab": gitlab_routable,
    "atlassian": atlassian,
    "cloudflare": cloudflare,
    "grafana": grafana,
    "keyed": keyed,
    "datacenter": data_centre,
    "pypi": pypi,
    "jwt": jwt,
    "discord": discord,
    "snowflake": snowflake,
    "pem": pem,
    "private-key-pem": private_key,
    "pem-escaped": escaped_key,
    "pem-public": public_pem,
    "repeat": repeated,
    "tag": tag,
    "wif": wif,
    "bip38": bip38,
    "xkey": extended_key,
    "bech32": bech32,
    "stellar": stellar,
    "bip39": bip39,
}
