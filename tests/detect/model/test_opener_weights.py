"""An opener's file: what was packed is unpacked, and nothing else is."""

import pytest

from pipeguard.detect.model.opener import unpack_opener
from tests.detect.model.openers import any_weights
from training.packing import pack_opener


def test_what_was_packed_is_unpacked() -> None:
    assert unpack_opener(pack_opener(any_weights())) == any_weights()


@pytest.mark.parametrize("content", [b"", b"another file", pack_opener(any_weights())[:-90]])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no opener|Unterminated|Expecting|delimiter"):
        unpack_opener(content)
