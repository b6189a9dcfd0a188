"""Digests are those of the standards, and the same for texts of any length."""

import hashlib
import hmac

import pytest

from pipeguard.firewall.digest import LARGE_BYTES, blake2b, hexdigest, hmac_hexdigest, sha256


def test_sha_256_is_that_of_the_standard() -> None:
    """FIPS 180-4, as its examples have it."""
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(b"abc").hexdigest() == hexdigest(b"abc") == expected


def test_blake2b_is_that_of_the_standard() -> None:
    """RFC 7693, appendix A."""
    assert blake2b(b"abc").hexdigest().startswith("ba80a53f981c4d0d6a2797b69f12f6e9")
    keyed = hashlib.blake2b(b"abc", digest_size=8, key=b"key").digest()
    assert blake2b(b"abc", digest_size=8, key=b"key").digest() == keyed


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1])
def test_it_is_the_same_whichever_library_computes_it(size: int) -> None:
    data = b"a" * size
    assert hexdigest(data) == hashlib.sha256(data).hexdigest() == sha256(data).hexdigest()
    key = bytes(range(32))
    assert hmac_hexdigest(key, data) == hmac.new(key, data, "sha256").hexdigest()
