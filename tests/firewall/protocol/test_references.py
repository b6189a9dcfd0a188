"""The definitions that a request uses, whichever member names them."""

import pytest

from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.session.admission import Reference, list_references

REF = "completion/complete"
LISTEN = "subscriptions/listen"


@pytest.mark.parametrize(
    ("method", "params", "used"),
    [
        ("tools/call", {"name": "a"}, [("tool", "a")]),
        ("tools/call", {}, [("tool", None)]),
        ("prompts/get", {"name": "a"}, [("prompt", "a")]),
        ("resources/read", {"uri": "a:b"}, [("resource", "a:b")]),
        ("resources/subscribe", {"uri": "a:b"}, [("resource", "a:b")]),
        ("resources/unsubscribe", {"uri": "a:b"}, []),
        ("tools/list", {"name": "a"}, []),
        (REF, {"ref": {"type": "ref/prompt", "name": "a"}}, [("prompt", "a")]),
        (REF, {"ref": {"type": "ref/resource", "uri": "a:{b}"}}, [("template", "a:{b}")]),
        (REF, {"ref": {"name": "a", "uri": "b:c"}}, [("prompt", "a"), ("template", "b:c")]),
        (REF, {"ref": {}}, [("prompt", None)]),
        (REF, {}, [("prompt", None)]),
        (REF, {"ref": "a"}, [("prompt", ["a"])]),
        (LISTEN, {"notifications": {"resourceSubscriptions": ["a:", "b:"]}},
         [("resource", "a:"), ("resource", "b:")]),
        (LISTEN, {"notifications": {"resourceSubscriptions": "a:"}}, [("resource", ["a:"])]),
        (LISTEN, {"notifications": {"toolsListChanged": True}}, []),
        (LISTEN, {"notifications": None}, []),
    ],
)  # fmt: skip
def test_what_a_request_uses(method: str, params: JsonObject, used: list[Reference]) -> None:
    assert list(list_references(method, params)) == used
