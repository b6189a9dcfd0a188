"""Installers and disposable names, by which a command that could do harm is an everyday one.

Used by detect.checks.benign_commands. An entry here lets a command pass that a rule would stop, so
each must be certain: a host that only its project writes to, a name that nobody gives to a system
in use.
"""

from __future__ import annotations

from pipeguard.detect.words.notation import word_set

# Hosts that serve nothing but the installer of a project, or that only the project writes to.
INSTALLER_HOSTS = word_set(
    "sh.rustup.rs get.docker.com install.python-poetry.org deb.nodesource.com rpm.nodesource.com "
    "bun.sh deno.land get.helm.sh astral.sh starship.rs get.pnpm.io get.k3s.io get.sdkman.io "
    "get.volta.sh bootstrap.pypa.io install.determinate.systems nixos.org fnm.vercel.app mise.run "
    "mise.jdx.dev ohmyz.sh pyenv.run wasmtime.dev tailscale.com ollama.com pixi.sh "
    "cli.doppler.com packages.microsoft.com download.docker.com apt.releases.hashicorp.com "
    "sdk.cloud.google.com fly.io install.duckdb.org cdn.rootless.com get.jetify.com dl.yarnpkg.com "
    "foundry.paradigm.xyz foundryup.sh get.nexte.st zed.dev claude.ai"
)
# Where hosts serve what anybody writes: the folders that only a project writes to.
INSTALLER_PATHS = (
    *("raw.githubusercontent.com/nvm-sh/nvm/", "raw.githubusercontent.com/homebrew/install/"),
    *("raw.githubusercontent.com/ohmyzsh/", "raw.githubusercontent.com/helm/helm/"),
    *("raw.githubusercontent.com/pyenv/pyenv-installer/", "raw.githubusercontent.com/golangci/"),
    *("raw.githubusercontent.com/rust-lang/", "raw.githubusercontent.com/astral-sh/"),
)
# Parts of the names of what is made to be thrown away; expressions.
DISPOSABLE = (
    *("tests?", "testing", "tmp", "temp", "temporary", "ci", "scratch", "sandbox"),
    *("bench(?:mark)?", "demo", "staging", "preview", "pr", "e2e", "fixtures?", "playground"),
    *("throwaway", "trial", "spike", "ephemeral", "dummy", "dev"),
)
