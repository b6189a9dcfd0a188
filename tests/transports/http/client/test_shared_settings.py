"""Log levels and subscriptions of the clients of one server."""

from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.transports.http.client import shared_settings
from pipeguard.transports.http.client.shared_settings import (
    LEVELS,
    SUBSCRIBE,
    UNSUBSCRIBE,
    SharedSettings,
    is_logged,
)


def request(method: str, **params: JsonValue) -> JsonObject:
    return {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}


def updated(uri: JsonValue) -> JsonObject:
    params: JsonObject = {"uri": uri}
    return {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params}


def two_clients() -> SharedSettings:
    settings = SharedSettings()
    for client in ("one", "two"):
        assert settings.join(client) == []
    return settings


def test_what_no_client_may_decide_for_others_is_decided_for_all() -> None:
    settings = two_clients()
    sent = settings.relay("one", request("logging/setLevel", level="error"))
    assert sent == request("logging/setLevel", level="info")
    sent = settings.relay("two", request("logging/setLevel", level="warning"))
    assert sent == request("logging/setLevel", level="warning")
    [told] = settings.leave("two")
    assert told["params"] == {"level": "error"}
    assert settings.leave("one") == []


def test_nothing_is_filtered_before_a_client_sets_a_level() -> None:
    settings = two_clients()
    line: JsonObject = {"method": "notifications/message", "params": {"level": "debug"}}
    assert settings.listeners(line, ["one", "two", "nobody"]) == ["one", "two"]
    settings.relay("one", request("logging/setLevel", level="debug"))
    assert settings.listeners(line, ["one", "two"]) == ["one"]


def test_a_new_server_knows_nothing_of_what_was_set() -> None:
    settings = two_clients()
    settings.relay("one", request("logging/setLevel", level="debug"))
    settings.relay("one", request(SUBSCRIBE, uri="a"))
    settings.clear()
    assert settings.leave("one") == []
    assert "method" in settings.relay("two", request(UNSUBSCRIBE, uri="a"))


def test_an_address_that_nobody_subscribed_to_goes_to_all_with_subscriptions() -> None:
    settings = two_clients()
    clients = ["one", "two", "nobody"]
    assert settings.listeners(updated("file:///a"), clients) == []
    settings.relay("one", request(SUBSCRIBE, uri="file:///./a/"))
    assert settings.listeners(updated("file:///a"), clients) == ["one"]
    settings.relay("two", request(SUBSCRIBE, uri="file:///a"))
    assert settings.listeners(updated("file:///a/b/c"), clients) == ["two"]
    assert settings.listeners(updated("file:///ab"), clients) == ["one", "two"]
    assert settings.listeners(updated(None), clients) == ["one", "two"]
    long = "file:///a" + "/" * 10_000_000
    assert settings.listeners(updated(long), clients) == ["one", "two"]


def test_one_clients_subscriptions_are_bounded() -> None:
    settings = two_clients()
    for number in range(shared_settings.MOST_SUBSCRIPTIONS):
        assert "method" in settings.relay("one", request(SUBSCRIBE, uri=f"x://{number}"))
    assert "method" in settings.relay("one", request(SUBSCRIBE, uri="x://0"))
    refused = settings.relay("one", request(SUBSCRIBE, uri="y"))
    assert [*refused] == ["error"]
    assert "method" in settings.relay("two", request(SUBSCRIBE, uri="y"))


def test_what_is_not_well_formed_is_for_the_server_to_refuse() -> None:
    settings = two_clients()
    without_params: JsonObject = {"method": SUBSCRIBE, "id": "1"}
    for odd in (
        request(SUBSCRIBE, uri=["a"]),
        request("logging/setLevel", level=["debug"]),
        request("logging/setLevel", level="loud"),
        without_params,
    ):
        assert settings.relay("one", odd) is odd
    assert settings.leave("one") == []


def test_levels_are_compared_by_their_order() -> None:
    assert is_logged("error", "warning")
    assert not is_logged("info", "warning")
    assert is_logged("strange", "emergency")
    assert not is_logged("emergency", None)
    assert LEVELS[0] == "debug"
