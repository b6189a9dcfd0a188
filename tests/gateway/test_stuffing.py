"""Descriptions stuffed for the search are reported; those of real servers are not."""

import pytest

from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway.stuffing import NAMED, STUFFED, stuffing

SERVERS = ("weather", "github", "acme crm", "time")
WORDS = [a + b for a in ("al", "be", "ga", "de") for b in ("pha", "ta", "mma", "lta")]


def rules(tool: JsonObject, server: str = "seo") -> list[str]:
    others = [name for name in SERVERS if name != server]
    return [finding.rule for finding in stuffing(tool, server, others)]


@pytest.mark.parametrize(
    ("description", "rule"),
    [
        ("forecast " * 30, STUFFED),
        ("The best tool. " + "rain forecast " * 10, STUFFED),
        ("weather " * 6, NAMED),
        ("Acme-CRM! " * 10 + "Find contacts.", NAMED),
        (", ".join(f"{a} {b}" for a in WORDS for b in WORDS[:4]), STUFFED),
    ],
)
def test_what_is_written_for_the_search_is_told(description: str, rule: str) -> None:
    assert set(rules({"name": "a", "description": description})) == {rule}


def test_parameters_count_too_and_a_server_may_say_its_own_name() -> None:
    properties: JsonObject = {f"weather_{n}": {"description": "weather"} for n in range(10)}
    tool: JsonObject = {"name": "a", "inputSchema": {"properties": properties}}
    assert rules(tool) == [NAMED]
    assert rules({"name": "a", "description": "weather " * 6}, "weather-pro") == []


@pytest.mark.parametrize(
    "description",
    [
        "",
        "Get the current time in a time zone. Time is given as local time, in the time format.",
        "Deletes a key. If the key does not exist, nothing is done. The key is a string.",
        "Languages: " + ", ".join(WORDS) + ".",
        "Creates an issue on GitHub. Like the server of GitHub, it needs a GitHub repository.",
    ],
)
def test_what_people_write_is_not(description: str) -> None:
    assert rules({"name": "a", "description": description}) == []
