"""`pipeguard serve --check`: checks everything that a start reads, and starts nothing."""

from pathlib import Path

import pytest

from pipeguard.state.paths import existing_store
from pipeguard.state.store import open_store
from pipeguard.state.tokens import TokenScope, create_token
from tests.snapshot import Snapshot


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of servers, with state of its own."""
    path = tmp_path / "pipeguard.yaml"
    path.write_text(
        "mode: auto\nservers:\n  one: {command: cat, args: [/a/b/c.js, --api-key, hunter2]}\n"
    )
    path.chmod(0o600)
    return path


def test_a_start_is_checked_and_nothing_is_started(file: Path, snapshot: Snapshot) -> None:
    check = f"serve --config {file} --check"
    file.with_name("policy.yaml").write_text("actions: [{rule: injection.gone, action: block}]\n")
    snapshot.commands(
        "serve-check",
        f"""
        {check}
        {check} --mode direct --listen 127.0.0.1:8080
        {check} --listen here  # 2
        {check} --listen 0.0.0.0:80  # 2
        {check} --listen 127.0.0.1:80 --token-env NOT_SET_HERE  # 2
        {check} --listen 127.0.0.1:80 --tls-key key.pem  # 2
        {check} --listen 127.0.0.1:80 --max-sessions many  # 2
        {check} --policy missing.yaml  # 2
        {check} --policy {file.with_name("policy.yaml")}  # 2
        {check} --token-env X  # 2
        {check} --store postgresql://host/store  # 2
        {check} --secret-file {file}  # 2
        {check} --store postgresql://a:b@host/store --secret-file {file}  # 2
        {check} --store mysql://host/store --secret-file {file}  # 2
        {check} --store postgresql://host/store --secret-file {file}  # 2
        """,
    )
    assert existing_store() is None
    with open_store() as store:
        create_token(store, "ci", TokenScope())
    snapshot.commands("serve-check-token", f"{check} --listen 0.0.0.0:80")


def test_what_isolation_forbids_is_told_with_its_line(file: Path, snapshot: Snapshot) -> None:
    file.write_text("servers:\n  a:\n    command: cat\n    isolate: {hosts: ['http://a.com']}\n")
    snapshot.commands("serve-check-wrong", f"serve --config {file} --check  # 2")
    file.write_text(
        "servers:\n  a: {command: cat, isolate: {read: [/gone/for/good]}}\n"
        "  b: {command: no-such-program-here}\n  c: {command: ./gone/server, cwd: /tmp}\n"
        f"  d: {{command: {file}}}\n  e: {{command: {file.parent}}}\n"
    )
    snapshot.commands("serve-check-noted", f"serve --config {file} --check")
