"""What stands for a secret is told from other text, in bytes as in characters."""

import pytest

from pipeguard.detect.vault_placeholder import (
    MAX_PLACEHOLDER_BYTES,
    PLACEHOLDER,
    PLACEHOLDER_IN_BYTES,
    may_hold_placeholder,
)

DIGEST = "0123456789abcdef"
LONGEST = f"[personal:{'a' * 64}:{'9' * 9}:{'f' * 16}]"


@pytest.mark.parametrize("text", [f"[secret:github-token:1:{DIGEST}]", LONGEST])
def test_a_placeholder_is_one_in_bytes_and_in_characters(text: str) -> None:
    assert PLACEHOLDER.fullmatch(text)
    assert PLACEHOLDER_IN_BYTES.fullmatch(text.encode())
    assert len(text) <= MAX_PLACEHOLDER_BYTES
    assert may_hold_placeholder(f"see {text} there".encode())


@pytest.mark.parametrize(
    "text",
    [
        "[secret:github-token:1:0123456789abcde]",
        "[secret:github-token:1:0123456789ABCDEF]",
        "[secret:GitHub:1:0123456789abcdef]",
        "[secret:a:1234567890:0123456789abcdef]",
        "[token:a:1:0123456789abcdef]",
        "[secret::1:0123456789abcdef]",
    ],
)
def test_what_is_written_otherwise_is_none(text: str) -> None:
    assert PLACEHOLDER.search(text) is None


@pytest.mark.parametrize(
    "frame", [rb'"\u005bsecret:a"', rb"[\u0070ers", rb"\u006E", b"[personal:", b"[secret:"]
)
def test_a_frame_may_hold_one_that_is_escaped(frame: bytes) -> None:
    assert may_hold_placeholder(frame)


def test_any_other_frame_holds_none() -> None:
    assert not may_hold_placeholder(rb'{"a":"[secrets] \n \u20ac \u00e9 \\\u0000"}')
