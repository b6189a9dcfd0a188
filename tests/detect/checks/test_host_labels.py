"""Host names whose labels carry data, and names that only look generated."""

from base64 import b32encode, urlsafe_b64encode

import pytest

from pipeguard.detect.checks.host_labels import CHECKS, carries_data

TEXT = b"user=admin password=hunter22"
HEX_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"


def in_base32_hex(text: bytes) -> str:
    digits = "0123456789abcdefghijklmnopqrstuv"
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    small = b32encode(text).decode().lower().rstrip("=")
    return small.translate(str.maketrans(letters, digits))


@pytest.mark.parametrize(
    "label",
    [
        TEXT.hex(),
        TEXT.hex().upper(),
        b32encode(TEXT).decode().lower().rstrip("="),
        in_base32_hex(TEXT),
        urlsafe_b64encode(TEXT).decode().rstrip("="),
        f"3-{TEXT.hex()}",
        "国王是明天来的".encode().hex(),
        b"root:x:0:0:/root:".hex(),
    ],
)
def test_a_label_that_decodes_to_text(label: str) -> None:
    assert carries_data(f"{label}.c.collect.example")


def test_a_text_over_several_labels() -> None:
    pieces = TEXT.hex()
    assert carries_data(f"{pieces[:14]}.{pieces[14:28]}.{pieces[28:]}.t.collect.example.")


def test_long_labels_of_data_that_is_no_text() -> None:
    assert carries_data(f"{HEX_HASH}.{HEX_HASH[::-1]}.d.collect.example")
    dense = "k3vz7q1m9x2b8w4n6c5j0h3g7f1d9s2a"
    assert carries_data(f"{dense}.{dense[::-1]}.d.collect.example")


@pytest.mark.parametrize(
    "host",
    [
        "collect.example",
        "d111111abcdef8.cloudfront.net",
        f"{HEX_HASH}.pages.example",
        "k8s-default-ingress-7d5f8c9b6a-1234567890.eu-west-1.elb.example.com",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi.ipfs.example.org",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        "ffffffffffffffffffffffff.collect.example",
        "abcdefghijk.collect.example",
    ],
)
def test_names_that_carry_nothing(host: str) -> None:
    assert not carries_data(host)


def test_the_check() -> None:
    check = CHECKS["host-carries-data"]
    assert check(TEXT.hex().encode() + b".c.collect.example") is True
    assert check("é.collect.example".encode()) is False
