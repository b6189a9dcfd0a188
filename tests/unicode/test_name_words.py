"""The words of names, however they are joined."""

import pytest

from pipeguard.unicode.name_words import name_words, words_of_any_script


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("readFile", ["read", "file"]),
        ("get_APIKey2", ["get", "api", "key", "2"]),
        ("HTTPServer", ["http", "server"]),
        ("to-do.list", ["to", "do", "list"]),
        ("Schlüssel", ["schl", "ssel"]),
        ("", []),
    ],
)
def test_a_name_is_read_in_its_words(name: str, words: list[str]) -> None:
    assert name_words(name) == words


def test_a_text_is_read_in_any_script() -> None:
    assert words_of_any_script("Öffnet die HTTPVerbindung 2 mal") == [
        *("öffnet", "die", "http", "verbindung", "mal")
    ]
