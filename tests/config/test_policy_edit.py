"""Edits of the user's policy file: comments, order and meaning of the rest stay."""

import datetime
from pathlib import Path

import pytest

from pipeguard.config.policy_edit import with_mode, without_exception
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Mode

TODAY = datetime.date(2026, 11, 26)
FIRST, LAST = "{rule: a.b, server: x, why: one}", "{rule: c.d, server: y, why: two}"
REMOVED = {
    "first": (f"exceptions:\n- {FIRST}\n- {LAST}\n", 0, f"exceptions:\n- {LAST}\n"),
    "last": (f"exceptions:\n- {FIRST}\n- {LAST}\nmode: enforce\n", 1, None),
    "in-brackets": (
        f"exceptions: [{FIRST}, {LAST}] # mine\n",
        1,
        f"exceptions: [{FIRST}] # mine\n",
    ),
    "the-only-one": (
        f"# mine\nmode: enforce\nexceptions:\n- {FIRST}\n",
        0,
        "# mine\nmode: enforce\n",
    ),
    "the-only-key": (f"# mine\nexceptions:\n- {FIRST}\n", 0, "# mine\n"),
    "an-ended-one": (
        f"exceptions:\n- {{rule: a.b, server: x, until: 2020-01-31, why: w}}\n- {LAST}\n",
        0,
        f"exceptions:\n- {LAST}\n",
    ),
}
MODES = {
    "none": ("", "mode: observe\n"),
    "another": ("# mine\nmode: enforce  # for now\n", "# mine\nmode: observe  # for now\n"),
    "no-mode": ("# mine\ntrust: review\n", "# mine\nmode: observe\ntrust: review\n"),
    "comments-only": ("# mine", "# mine\nmode: observe\n"),
}


@pytest.mark.parametrize("name", REMOVED)
def test_an_exception_is_removed(tmp_path: Path, name: str) -> None:
    text, position, wanted = REMOVED[name]
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    wanted = text.replace(f"- {LAST}\n", "") if wanted is None else wanted
    assert without_exception(str(path), position, TODAY) == wanted
    assert path.read_text() == text


def test_what_others_refer_to_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(f"exceptions:\n- &a {FIRST}\n- *a\n")
    with pytest.raises(PolicyError, match="by hand"):
        without_exception(str(path), 0, TODAY)
    path.unlink()
    with pytest.raises(PolicyError, match="no longer has this exception"):
        without_exception(str(path), 0, TODAY)


@pytest.mark.parametrize("name", MODES)
def test_the_mode_is_changed(tmp_path: Path, name: str) -> None:
    text, wanted = MODES[name]
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    assert with_mode(str(path), Mode.OBSERVE, TODAY) == wanted
