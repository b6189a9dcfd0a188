"""Isolated servers and installers in a network with a proxy: real sandboxes and proxies."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.outer_proxy import merge_proxies
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import OWN_PROXY, installer, with_own_proxy
from pipeguard.launch.command import Command
from tests.isolation.egress.company_proxy import CompanyProxy, company
from tests.isolation.egress.sandbox import port_of
from tests.isolation.test_escapes import answering
from tests.isolation.test_wrapped import Isolated
from tests.launch.processes import until

pytestmark = pytest.mark.needs("bubblewrap")

LOGIN = "Basic dXNlcjpwQHNz"  # user:p@ss
SECRETS = ("p@ss", "p%40ss", LOGIN.partition(" ")[2])
# It is in no network here, so whoever reaches it reached it through the proxy.
HOST = "service.test:443"


@contextmanager
def demanding(authorization: str = LOGIN) -> Iterator[CompanyProxy]:
    """A proxy that demands a login, and leads to a service that says `reached`."""
    with (
        answering(socket.AF_INET, ("127.0.0.1", 0)) as service,
        company({HOST: port_of(service)}, authorization) as outer,
    ):
        yield outer


@contextmanager
def behind(folder: Path, *options: str, policy: str = "", **variables: str) -> Iterator[Isolated]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with Isolated(folder, "--isolate", "auto", *options, policy=policy) as run:
            yield run.ready()


def has_none_of(folder: Path, secrets: tuple[str, ...]) -> bool:
    """True if no file of PipeGuard's state has a secret."""
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert contents
    return not any(secret.encode() in content for secret in secrets for content in contents)


def test_a_server_reaches_its_host_through_the_proxy_of_the_environment(tmp_path: Path) -> None:
    with demanding() as outer:
        url = f"http://user:p%40ss@127.0.0.1:{outer.port}"
        with behind(tmp_path, "--connect", "service.test", HTTPS_PROXY=url) as run:
            assert run.call("connect", HOST) == "reached"
            assert run.call("proxied", HOST).endswith("reached")
            assert run.call("environment", "HTTPS_PROXY") in {OWN_PROXY, "not set"}
            assert run.call("connect", "other.test:443") == "gaierror"
            until(lambda: "excerpt=other.test" in run.said(), "the refusal is told")
            said = run.said()
    assert {head.splitlines()[0] for head in outer.heads} == {f"CONNECT {HOST} HTTP/1.1"}
    assert not any(secret in said for secret in SECRETS)
    assert has_none_of(tmp_path / "state", SECRETS)


def test_a_policy_names_the_proxy_by_reference(tmp_path: Path) -> None:
    with demanding() as outer, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
        from pipeguard.auth.place import Place
        from pipeguard.auth.secrets import store

        store("company", f"http://user:p%40ss@127.0.0.1:{outer.port}", Place.FILE)
        policy = (
            "egress: {proxy: 'keyring:company'}\nisolate:\n"
            "- {server: reacher, hosts: [service.test]}\n"
        )
        with behind(tmp_path, policy=policy) as run:
            assert run.call("connect", HOST) == "reached"
            said = run.said()
    assert len(outer.heads) == 1
    assert not any(secret in said for secret in SECRETS)


def test_a_policy_with_a_proxy_that_cannot_be_used_starts_no_server(tmp_path: Path) -> None:
    policy = "egress: {proxy: 'socks4://user:p%40ss@h:1'}\nisolate:\n- {server: reacher}\n"
    with Isolated(tmp_path, policy=policy) as run:
        error = str(run.initialize()["error"])
    assert "egress.proxy" in error
    assert "p%40ss" not in error + run.said()


FETCH = f"""
import socket
with socket.create_connection(("{HOST.partition(":")[0]}", 443), 5) as host:
    print(host.recv(100).decode())
"""


def test_an_installer_reaches_its_registry_through_the_proxy(tmp_path: Path) -> None:
    with demanding() as outer:
        variables = {"HTTPS_PROXY": f"http://user:p%40ss@127.0.0.1:{outer.port}"}
        command = Command([sys.executable, "-I", "-c", FETCH], {"PATH": os.defpath}, str(tmp_path))
        child = installer(
            command, Profile(hosts=("service.test",)), proxies=merge_proxies(None, variables)
        )
        child.wait_started()
        child.wait(60)
        said = os.read(child.stdout_fd, 100) or os.read(child.stderr_fd, 1000)
        child.close()
    assert said == b"reached\n"


def test_variables_name_the_way_out_unless_the_server_may_reach_the_proxy_itself() -> None:
    variables = {
        "HTTPS_PROXY": "http://user:secret@proxy.example:3128",
        "http_proxy": "proxy.example:3128",
        "ALL_PROXY": "socks5://proxy.example",
        "NO_PROXY": "x.example",
        "HTTP_PROXY": "",
        "MY_PROXY": "mine",
    }
    assert with_own_proxy(variables, HostRules()) == variables | {
        "HTTPS_PROXY": OWN_PROXY,
        "http_proxy": OWN_PROXY,
        "ALL_PROXY": OWN_PROXY,
    }
    rules = HostRules.parse(["proxy.example:3128"])
    assert with_own_proxy(variables, rules) == variables | {"ALL_PROXY": OWN_PROXY}
