"""Files that no grant of a folder gives: each has to be named by itself.

Sources: the manual pages of ssh, gpg and bash, the documentation of AWS, gcloud, Azure, Kubernetes,
Docker, npm, PyPI, Cargo, GitHub's, GitLab's and HashiCorp's command lines, of Chromium, Firefox,
the Secret Service, and of the clients in `pipeguard/clients`.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from os.path import islink, join, lexists, realpath

# In the home. Keys and logins first, then what is run or read at the next login, then browsers,
# then clients' configurations, which hold servers' secrets and decide what is started.
IN_HOME = (
    ".ssh",
    ".gnupg",
    ".pki",
    ".aws",
    ".azure",
    ".config/gcloud",
    ".kube",
    ".docker",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".config/pip",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".config/gh",
    ".config/glab-cli",
    ".config/hub",
    ".terraform.d",
    ".terraformrc",
    ".vault-token",
    ".config/op",
    ".config/sops",
    ".config/age",
    ".password-store",
    ".pgpass",
    ".my.cnf",
    ".config/rclone",
    ".s3cfg",
    ".boto",
    ".databrickscfg",
    ".snowflake",
    ".oci",
    ".config/doctl",
    ".config/hcloud",
    ".config/containers/auth.json",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".config/systemd",
    ".config/autostart",
    ".profile",
    ".bash_profile",
    ".bashrc",
    ".bash_login",
    ".bash_history",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zsh_history",
    ".config/fish",
    ".local/share/fish",
    ".python_history",
    ".node_repl_history",
    ".psql_history",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".config/vivaldi",
    ".config/opera",
    ".thunderbird",
    ".librewolf",
    ".config/Signal",
    ".config/Slack",
    ".config/discord",
    ".bitcoin",
    ".ethereum",
    ".electrum",
    ".claude",
    ".claude.json",
    ".config/Claude",
    ".cursor",
    ".config/Cursor",
    ".vscode",
    ".config/Code",
    ".codex",
    ".gemini",
    ".codeium",
    ".continue",
    ".aider.conf.yml",
    ".copilot",
    ".config/zed",
    ".config/goose",
    ".config/opencode",
    ".local/share/opencode",
    ".cline",
    ".config/pipeguard",
    ".local/state/pipeguard",
    ".cache/pipeguard",
    ".local/share/pipeguard",
    "Library/Keychains",
    "Library/Application Support",
    "Library/Cookies",
    "Library/LaunchAgents",
)
# Of the machine: what holds its users' passwords, its sockets, and what is run later.
OF_SYSTEM = (
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/run",
    "/boot",
    "/var/run",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/spool/cron",
    "/etc/cron.d",
    "/proc",
    "/sys",
    "/dev",
    "/root/.ssh",
    "/tmp/.X11-unix",  # noqa: S108  never made here
    "/tmp/.ICE-unix",  # noqa: S108  never made here
)


def sensitive_paths(home_folder: str, own_folders: Sequence[str]) -> tuple[str, ...]:
    """All paths that must be granted by name, whether they exist or not.

    Args:
        home_folder: the user's.
        own_folders: PipeGuard's own: settings, state and caches, wherever variables put them.
    """
    real = realpath(home_folder)
    homes = dict.fromkeys((home_folder, real))
    in_homes = (join(each, path) for each in homes for path in IN_HOME)
    own = (path for folder in own_folders for path in (folder, realpath(folder)))
    return tuple(dict.fromkeys((*in_homes, *_link_targets(real), *own, *OF_SYSTEM)))


def _link_targets(home_folder: str) -> Iterator[str]:
    """The targets of links, such as a folder of "dotfiles"."""
    above = {path[:end] for path in IN_HOME for end in range(len(path)) if path[end] == "/"}
    moved = [each for each in above if islink(join(home_folder, each))]
    for name in IN_HOME:
        path = join(home_folder, name)
        if islink(path) or is_in_any(name, moved):
            yield realpath(path)


def find_hidden(granted: str, sensitive: Sequence[str], named: Sequence[str]) -> Iterator[str]:
    """The hidden part of a granted folder: existing sensitive paths that are not named.

    Of one in which something is named, all the rest.
    """
    for path in sensitive:
        is_hidden = path != granted and is_inside(path, granted) and lexists(path)
        # What a link leads to is among the sensitive paths itself, and nothing covers a link.
        if is_hidden and realpath(path) == path:
            yield from _but(path, named)


def _but(path: str, named: Sequence[str]) -> Iterator[str]:
    """A path without the paths in it that are named."""
    if path in named:
        return
    if not any(is_inside(each, path) for each in named):
        yield path
        return
    for name in os.listdir(path):
        inner = join(path, name)
        if not islink(inner):
            yield from _but(inner, named)


def read_start(path: str, most_bytes: int) -> bytes | None:
    """The first bytes of a file; None if it is no file, or not ours to read."""
    try:
        with open(path, "rb") as file:
            return file.read(most_bytes)
    except OSError:
        return None


def find_holder(path: str, sensitive: Iterable[str]) -> str | None:
    """The sensitive path that is or contains a path."""
    return next((each for each in sensitive if is_inside(path, each)), None)


def is_inside(path: str, folder: str) -> bool:
    """True if a path is a folder or inside it; both absolute and without `..`."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_in_any(path: str, folders: Iterable[str]) -> bool:
    """True if a path is one of these folders or inside one."""
    return any(is_inside(path, each) for each in folders)


def is_below(path: str, folders: Iterable[str]) -> bool:
    """True if a path is inside one of these folders, and not only the folder itself."""
    return any(path != each and is_inside(path, each) for each in folders)


def outermost(paths: Collection[str]) -> list[str]:
    """The paths that are not inside another one of them, sorted."""
    return [path for path in sorted(paths) if not is_below(path, paths)]


def session_sockets(uid: int) -> Iterator[str]:
    """Sockets of the user's session, wherever they are: often in `/tmp`, which may be granted."""
    yield f"/tmp/tmux-{uid}"  # noqa: S108  never made here
    values = (os.environ.get(name, "") for name in ("SSH_AUTH_SOCK", "TMUX", "XAUTHORITY"))
    for path in (value.partition(",")[0] for value in values):
        if path.startswith("/"):
            yield path
