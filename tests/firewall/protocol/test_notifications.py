"""Notifications that must be forwarded, whatever is found in them."""

from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.methods import SUBSCRIPTION_META, without_free_text


def test_only_the_free_text_is_removed() -> None:
    def left(method: str, **params: JsonValue) -> JsonValue:
        sent: JsonObject = {"jsonrpc": "2.0", "method": method, "more": "x", "params": params}
        bare = without_free_text(sent)
        assert bare.pop("jsonrpc") == "2.0"
        assert bare.pop("method") == method
        assert bare.keys() == {"params"}
        return bare["params"]

    key = SUBSCRIPTION_META
    granted: JsonObject = {"toolsListChanged": True, "resourceSubscriptions": ["x"], "x": True}
    assert left("notifications/cancelled", requestId="1", reason="r") == {"requestId": "1"}
    assert left("notifications/cancelled", requestId=["1"]) == {}
    assert left("notifications/initialized", requestId="1", _meta={"x": "y"}) == {}
    assert left(
        "notifications/subscriptions/acknowledged",
        notifications=granted,
        _meta={key: "1", "x": "y"},
    ) == {"notifications": {"toolsListChanged": True}, "_meta": {key: "1"}}
    bare = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert without_free_text({"method": "notifications/initialized", "x": ""}) == bare
