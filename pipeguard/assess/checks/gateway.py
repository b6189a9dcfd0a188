"""The setup of `pipeguard serve`: what it trusts, what agents may request, who can connect."""

from pipeguard.assess.checks.network import find_address, list_processes
from pipeguard.assess.gateway_file import GATEWAY, is_of_gateway
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, PostureFinding, read_checks
from pipeguard.clients.entries import Config
from pipeguard.detect.checks.addresses import is_loopback

FIRST_USE, PROPOSES, IN_CLEAR = CHECKS = read_checks("gateway")


def look(target: AssessmentTarget) -> Findings:
    """Check the gateway's file, and gateways that run."""
    for server in target.servers:
        if is_of_gateway(server) and server.fields.get("trust") == "first-use":
            message = "What it offers at first is trusted if no rule finds anything."
            yield FIRST_USE.at(server, message)
    for config in target.configs:
        if any(spec.client == GATEWAY for spec in config.specs):
            yield from _proposing(config)
    if not target.is_repository:
        yield from filter(None, (in_clear(words) for _, words in list_processes()))


def _proposing(config: Config) -> Findings:
    """Report settings with which agents may propose servers."""
    tree = None if config.problem else config.tree()
    member = tree.member("management") if tree else None
    data = member.value.data() if member else None
    if member is None or not isinstance(data, dict):
        return
    allowed = [key for key in ("add", "remove") if str(data.get(key)).lower() == "true"]
    if allowed:
        line = config.text.count("\n", 0, member.start) + 1
        message = f"They may ask you to {' and '.join(allowed)} servers."
        yield PROPOSES.at(config.path, message, line=line)


def in_clear(words: list[str]) -> PostureFinding | None:
    """Report a command that runs the gateway at an address in clear text; None for any other."""
    address = find_address("serve", words)
    host = address.rpartition(":")[0].strip("[]")
    has_tls = any(word.partition("=")[0] == "--tls-cert" for word in words)
    if not host or has_tls or is_loopback(host):
        return None
    return IN_CLEAR.at(None, f"`pipeguard serve --listen {address}` runs.", key=address)
