"""Entropy, in bits per byte."""

import pytest

from pipeguard.detect.checks.placeholders import MEASURED_BYTES, entropy


@pytest.mark.parametrize(
    ("text", "bits"), [(b"", 0.0), (b"aaaa", 0.0), (b"abab", 1.0), (bytes(range(256)), 8.0)]
)
def test_entropy_is_measured_in_bits_for_each_byte(text: bytes, bits: float) -> None:
    assert entropy(text) == pytest.approx(bits)


def test_only_the_first_kilobytes_are_measured() -> None:
    start = b"kZ8q" * (MEASURED_BYTES // 4)
    assert entropy(start + b"x" * 2**20) == entropy(start)
