"""What makes of a command that could do harm one that is given every day.

Questions about the lines that core.commands.effects makes of a command: `$ command words`, with the
byte 0x1F for a blank inside of a word. Knows lines, and no rule.
"""

from __future__ import annotations

import re

# Hosts that serve nothing but the installer of a project, or that only the project writes to.
_INSTALLERS = frozenset(
    b"sh.rustup.rs get.docker.com install.python-poetry.org deb.nodesource.com rpm.nodesource.com "
    b"bun.sh deno.land get.helm.sh astral.sh starship.rs get.pnpm.io get.k3s.io get.sdkman.io "
    b"get.volta.sh bootstrap.pypa.io install.determinate.systems nixos.org fnm.vercel.app mise.run "
    b"mise.jdx.dev ohmyz.sh pyenv.run wasmtime.dev tailscale.com ollama.com pixi.sh "
    b"cli.doppler.com "
    b"packages.microsoft.com download.docker.com apt.releases.hashicorp.com sdk.cloud.google.com "
    b"fly.io install.duckdb.org cdn.rootless.com get.jetify.com dl.yarnpkg.com "
    b"foundry.paradigm.xyz "
    b"foundryup.sh get.nexte.st zed.dev claude.ai".split()
)
_INSTALLER_PATHS = (
    b"raw.githubusercontent.com/nvm-sh/nvm/", b"raw.githubusercontent.com/homebrew/install/",
    b"raw.githubusercontent.com/ohmyzsh/", b"raw.githubusercontent.com/helm/helm/",
    b"raw.githubusercontent.com/pyenv/pyenv-installer/", b"raw.githubusercontent.com/golangci/",
    b"raw.githubusercontent.com/rust-lang/", b"raw.githubusercontent.com/astral-sh/",
)  # fmt: skip
_ADDRESS = re.compile(rb"https?://([^/\s|;&\"'?#]{1,200})(/[^\s|;&\"']{0,200})?")
# A part of a name, between what is no letter: what is made to be thrown away.
_DISPOSABLE = re.compile(
    rb"(?:^|[^a-z])(?:tests?|testing|tmp|temp|temporary|ci|scratch|sandbox|bench(?:mark)?|demo|staging"
    rb"|preview|pr|e2e|fixtures?|playground|throwaway|trial|spike|ephemeral|dummy|dev)"
    rb"(?=$|[^a-z/])",
    re.IGNORECASE,
)
# Before a command whose output logs in with it.
_LOGIN = re.compile(
    rb"(?:(?:bearer|basic|token|authorization:|private-token:|x-[a-z-]{2,24}:)\x1f?"
    rb"|(?:^|[\s\x1f])(?:[A-Za-z_]\w{0,40}=|--?(?:p|u|user|password|token|auth)[= ]\w{0,30}:?))\Z",
    re.IGNORECASE | re.MULTILINE,
)
_BEFORE = 64  # bytes


def is_installer(text: bytes) -> bool:
    """True where every address is of an installer that its project publishes."""
    found = _ADDRESS.findall(text.lower())
    return bool(found) and all(
        host in _INSTALLERS or (host + path).startswith(_INSTALLER_PATHS) for host, path in found
    )


def is_disposable(line: bytes) -> bool:
    """True where what is destroyed is called a test's, a draft's or the like."""
    return _DISPOSABLE.search(line) is not None


def logs_in(command: bytes, lines: bytes) -> bool:
    """True where a command's output goes nowhere but into a header, an option or a variable.

    Args:
        command: its line, or the beginning of it.
        lines: those around it, in one of which it stands as `$(command)`.
    """
    words = command.strip().removeprefix(b"$ ").rstrip(b" ").replace(b" ", b"\x1f")
    inner = re.compile(rb"(?:\$\(|`)" + re.escape(words), re.IGNORECASE)
    starts = [found.start() for found in inner.finditer(lines)]
    return bool(starts) and all(
        _LOGIN.search(lines[max(0, start - _BEFORE) : start].rpartition(b"\n")[2])
        for start in starts
    )
