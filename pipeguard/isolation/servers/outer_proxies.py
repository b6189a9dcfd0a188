"""The proxy of the user's own network, for the connections of isolated servers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeguard.auth import resolve_variables
from pipeguard.config.user_policy import mentions
from pipeguard.errors import PolicyError
from pipeguard.launch.environment import PROXIES

if TYPE_CHECKING:
    from pipeguard.config.options import WrapOptions
    from pipeguard.isolation.egress.outer_proxy import OuterProxies

SETTING = "egress.proxy"


def outer_proxies(options: WrapOptions) -> OuterProxies | None:
    """The proxies of the policy, or else of PipeGuard's own environment; None for none.

    Raises:
        PipeGuardError: the policy is invalid, or a secret that is referred to is missing.
    """
    named = {}
    if mentions(options.values.get("--policy"), "egress"):
        from pipeguard.config.effective_policy import wrap_egress_proxy

        if (setting := wrap_egress_proxy(options)) is not None:
            named = {SETTING: setting}
    values = {name: text for name, text in os.environ.items() if name.upper() in PROXIES and text}
    if not named and not values:
        return None
    from pipeguard.isolation.egress.outer_proxy import merge_proxies

    setting = resolve_variables(named).get(SETTING)
    proxies = merge_proxies(setting, resolve_variables(values))
    if named and proxies.wrong:
        raise PolicyError(f"{proxies.wrong}.")
    return proxies
