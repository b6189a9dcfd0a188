"""A name that a lenient parser reads as another one is reported."""

import pytest

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol import spelling

MEMBERS = spelling.spellings(("name", "protocolVersion"))


@pytest.mark.parametrize("key", ["Name", "NAME", "protocolversion", "PROTOCOLVERSION"])
def test_a_name_in_other_letters_is_a_look_alike(key: str) -> None:
    assert spelling.has_look_alike({key: None}, MEMBERS)
    with pytest.raises(Refusal, match="params") as refused:
        spelling.check_spelling({"a": None, key: None}, MEMBERS, "params")
    assert refused.value.rule == "protocol.key-look-alike"


@pytest.mark.parametrize("key", ["name", "protocolVersion", "names", "nam", ""])
def test_the_name_itself_and_others_are_not(key: str) -> None:
    assert not spelling.has_look_alike({key: None}, MEMBERS)
    spelling.check_spelling({key: None}, MEMBERS, "params")


@pytest.mark.parametrize(
    ("name", "folded"), [(" Name\t", "name"), ("n\u0430me", "name"), ("\uff4eame", "name")]
)
def test_blanks_and_letters_that_look_alike_are_folded(name: str, folded: str) -> None:
    assert spelling.folded_name(name) == folded
    assert spelling.has_look_alike({name: None}, MEMBERS, spelling.folded_name)
