"""The proxy of the user's own network, for the connections of isolated servers: where it is set."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from pipeguard.config.user_policy import mentions
from pipeguard.errors import PolicyError
from pipeguard.launch.environment import PROXIES, refers

if TYPE_CHECKING:
    from pipeguard.config.options import WrapOptions
    from pipeguard.isolation.way_out import ProxiesSource

SETTING = "egress.proxy"


def outer_proxies(options: WrapOptions) -> ProxiesSource | None:
    """The source of proxies: the policy, or else PipeGuard's own environment.

    None is looked for before a server's first connection: it is waiting to start.

    Raises:
        PipeGuardError: the policy is invalid, or a secret that is referred to is missing.
    """
    setting = _read_setting(options)
    values = {name: text for name, text in os.environ.items() if name.upper() in PROXIES and text}
    if setting is None and not values:
        return None
    named = {SETTING: setting} if setting is not None else {}
    if refers({**values, **named}):
        from pipeguard.auth.secrets import all_resolved

        values, named = all_resolved(values), all_resolved(named)
    setting = named.get(SETTING)
    if setting is not None:
        _must_be_proxy(setting)
    from pipeguard.isolation.egress.outer_proxy import merge_proxies

    return partial(merge_proxies, setting, values)


def _read_setting(options: WrapOptions) -> str | None:
    if not mentions(options.values.get("--policy"), "egress"):
        return None
    from pipeguard.config.effective_policy import wrap_egress_proxy

    return wrap_egress_proxy(options)


def _must_be_proxy(setting: str) -> None:
    from pipeguard.isolation.egress.outer_proxy import NO_PROXY, OuterProxy, OuterProxyError

    try:
        if setting != NO_PROXY:
            OuterProxy.parse(setting)
    except OuterProxyError as error:
        raise PolicyError(f"{SETTING} in your policy: {error}.") from None
