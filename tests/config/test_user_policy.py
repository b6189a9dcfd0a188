"""The check for isolation in a policy, before a server starts."""

from pathlib import Path

import pytest

from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.options import WrapOptions
from pipeguard.config.user_policy import MAX_READ_BYTES, mentions
from pipeguard.errors import PolicyError


def _written(folder: Path, content: bytes) -> str:
    path = folder / "policy.yaml"
    path.write_bytes(content)
    path.chmod(0o600)
    return str(path)


def test_a_policy_without_the_word_is_not_read_before_a_start(tmp_path: Path) -> None:
    assert not mentions(_written(tmp_path, b"mode: observe  # \xc3\xa4\n"), "isolate")


@pytest.mark.parametrize("key", ["isolate", '"iso\\u006cate"', '"\\x69solate"', '"iso\\\nlate"'])
def test_the_key_is_found_as_yaml_may_write_it(tmp_path: Path, key: str) -> None:
    path = _written(tmp_path, f"? {key}\n: - server: files\n".encode())
    assert mentions(path, "isolate")
    entries = wrap_isolation(WrapOptions(("server",), {"--policy": path}, {}, ()))
    assert [entry.server for entry in entries] == ["files"]


@pytest.mark.parametrize(
    "content",
    ["isolate:\n- server: files\n".encode("utf-16"), b"#" * MAX_READ_BYTES + b"\nisolate: []\n"],
)
def test_what_cannot_be_searched_is_read_before_a_start(tmp_path: Path, content: bytes) -> None:
    path = _written(tmp_path, content)
    assert mentions(path, "isolate")
    with pytest.raises(PolicyError):
        wrap_isolation(WrapOptions(("server",), {"--policy": path}, {}, ()))


def test_one_that_cannot_be_opened_is_read_before_a_start(tmp_path: Path) -> None:
    path = str(tmp_path / "none.yaml")
    assert mentions(path, "isolate")
    with pytest.raises(PolicyError, match="cannot be read"):
        wrap_isolation(WrapOptions(("server",), {"--policy": path}, {}, ()))
