"""Tables of the programs that start servers in clients' configurations; nothing else."""

from __future__ import annotations

_UV = (
    "--with --with-editable --with-requirements --python -p --constraints -c --overrides "
    "--env-file --cache-dir --config-file --extra --group --only-group --no-group"
)
# Options of `docker run` and `podman run` with a value, from their references.
CONTAINER_VALUES = (
    "--add-host --annotation --arch --attach --authfile --blkio-weight --blkio-weight-device"
    " --cap-add --cap-drop --cgroup-conf --cgroup-parent --cgroupns --cgroups --chrootdirs"
    " --cidfile --conmon-pidfile --cpu-period --cpu-quota --cpu-rt-period --cpu-rt-runtime"
    " --cpu-shares --cpus --cpuset-cpus --cpuset-mems --detach-keys --device --device-cgroup-rule"
    " --device-read-bps --device-read-iops --device-write-bps --device-write-iops --dns"
    " --dns-option --dns-search --domainname --entrypoint --env --env-file --env-merge --expose"
    " --gidmap --gpus --group-add --health-cmd --health-interval --health-on-failure"
    " --health-retries --health-start-interval --health-start-period --health-timeout --hostname"
    " --hostuser --image-volume --init-path --ip --ip6 --ipc --isolation --kernel-memory --label"
    " --label-file --link --link-local-ip --log-driver --log-opt --mac-address --memory"
    " --memory-reservation --memory-swap --memory-swappiness --mount --name --network"
    " --network-alias --oom-score-adj --os --passwd-entry --personality --pid --pidfile"
    " --pids-limit --platform --pod --pod-id-file --preserve-fds --publish --pull --requires"
    " --restart --runtime --sdnotify --seccomp-policy --secret --security-opt --shm-size"
    " --stop-signal --stop-timeout --storage-opt --subgidname --subuidname --sysctl --systemd"
    " --timeout --tmpfs --tz --uidmap --ulimit --umask --unsetenv --user --userns --uts --variant"
    " --volume --volume-driver --volumes-from --workdir"
)
_DOCKER = (
    f"{CONTAINER_VALUES} --net --net-alias -a -c -e -h -l -m -p -u -w --context -H --config"
    " --project-name --profile --index --ansi --progress --parallel"
)
# Programs that start the server, and their options whose value is not the server. (The value of
# `-jar`, `--bin`, `-File` and the like is the server.)
STARTERS = {
    **dict.fromkeys(
        [
            "npx",
            "bunx",
            "pnpx",
            "npm",
            "yarn",
            "poetry",
            "pdm",
            "pipenv",
            "rye",
            "bundle",
            "java",
            "dnx",
            "nix",
            "go",
            "just",
            "task",
            "nohup",
            "cmd",
            "sh",
            "bash",
            "dash",
            "zsh",
        ],
        "",
    ),
    **dict.fromkeys(("uv", "uvx"), _UV),
    **dict.fromkeys(("docker", "podman", "nerdctl", "docker-compose"), _DOCKER),
    **dict.fromkeys(("python", "py"), "-W -X"),
    **dict.fromkeys(("powershell", "pwsh"), "-ExecutionPolicy -WorkingDirectory"),
    "pnpm": "--reporter --loglevel",
    "bun": "--env-file",
    "deno": "-c --config --import-map",
    "node": "-r --require --import --loader --experimental-loader --env-file -C --conditions",
    "tsx": "--tsconfig",
    "ts-node": "-P --project",
    "pipx": "--python --pip-args",
    "hatch": "-e --env",
    "mcp": "-t --transport --with -f --env-file -v --env-var",
    "fastmcp": "-t --transport --with --project --python --host --port -p",
    "dotnet": "-c --configuration -f --framework",
    "cargo": "--features",
    "ruby": "-r -I -C",
    "php": "-d -c",
    "make": "-j --jobs",
    "env": "-u --unset",
    "sudo": "-u --user -g --group",
    "timeout": "-s --signal -k --kill-after",
    "nice": "-n --adjustment",
    "stdbuf": "-i -o -e",
}
# Their options that name the project's folder ...
FOLDERS = {
    **dict.fromkeys(("uv", "uvx"), "--directory --project"),
    **dict.fromkeys(("docker", "docker-compose", "podman"), "-f --file --project-directory"),
    **dict.fromkeys(("yarn", "bun"), "--cwd"),
    "npm": "--prefix -C",
    "pnpm": "--dir -C",
    "poetry": "-C --directory -P --project",
    "pdm": "-p --project",
    "cargo": "--manifest-path",
    "make": "-C --directory -f --file --makefile",
    "just": "-f --justfile -d --working-directory",
    "task": "-d --dir -t --taskfile",
    "env": "-C --chdir",
}
_INDEXES = "--from --index --default-index --index-url -i --extra-index-url"
# ... and those that say what is run, in addition to the word that does.
SOURCES = {
    **dict.fromkeys(("bunx", "pnpx", "yarn", "cargo"), "-p --package"),
    "npx": "-p --package --registry -w --workspace --prefix",
    "npm": "-p --package --registry -w --workspace",
    "pnpm": "-F --filter --package",
    "uv": f"{_INDEXES} --package --only-package",
    "uvx": _INDEXES,
    "pipx": "--spec --index-url -i",
    "java": "-cp -classpath --class-path -p --module-path",
    "docker": "--entrypoint -v --volume --mount -H --host --context",
    "podman": "--entrypoint -v --volume --mount --url --connection -c",
    "nerdctl": "--entrypoint -v --volume --mount",
    "docker-compose": "--entrypoint -H --host --context",
}
# Their options that name packages to fetch.
PACKAGES = {
    **dict.fromkeys(("npx", "bunx", "pnpx", "npm", "yarn", "bun"), "-p --package"),
    **dict.fromkeys(("uv", "uvx"), "--from --with -w"),
    "pnpm": "--package",
    "pipx": "--spec --with",
}
MOUNTS = frozenset({"-v", "--volume", "--mount"})
# The registry of the packages that a starter fetches; and the verbs with which others fetch one.
REGISTRIES = {
    "npx": "npm", "bunx": "npm", "pnpx": "npm", "uvx": "pypi", "pipx": "pypi", "dnx": "nuget",
    "nix": "nix",
}  # fmt: skip
FETCHING = {
    ("npm", "exec"): "npm", ("npm", "x"): "npm", ("pnpm", "dlx"): "npm",
    ("yarn", "dlx"): "npm", ("bun", "x"): "npm", ("uv", "tool"): "pypi",
}  # fmt: skip
# Starters that run what a folder's own files say.
PROJECTS = frozenset({
    "npm", "pnpm", "yarn", "bun", "uv", "poetry", "pdm", "pipenv", "hatch", "rye", "cargo",
    "bundle", "deno",
    "make", "just", "task", "dotnet",
})  # fmt: skip
# Starters whose next word is a task, or a script, defined in a file: its name can be anything.
TARGETS = frozenset({"make", "just", "task"})
SCRIPTS = frozenset({"npm", "pnpm", "yarn", "bun", "deno"})
CONTAINERS = frozenset({"docker", "podman", "nerdctl", "docker-compose"})
ELSEWHERE = frozenset({
    "ssh", "kubectl", "oc", "wsl", "lxc", "incus", "multipass", "vagrant", "flatpak", "snap",
    "nc", "ncat", "netcat", "socat", "telnet", "distrobox", "toolbox", "nsenter", "chroot",
})  # fmt: skip
SHELLS = frozenset({"sh", "bash", "dash", "zsh"})
VERBS = frozenset({"run", "exec", "dlx", "x", "tool", "/c", "/C"})
CONTAINER_VERBS = frozenset({"run", "exec", "up", "start"})
PROJECT_VERBS = frozenset({"run-script", "start", "task"})
MODULES = frozenset({"-m", "--module", "-um", "-Im", "-Em", "-Bm", "-sm"})
PROGRAM_ENDINGS = frozenset({"exe", "cmd", "bat"})
SCRIPT_ENDINGS = frozenset({
    "py", "js", "mjs", "cjs", "ts", "mts", "tsx", "rb", "php", "sh", "ps1", "jar", "csproj", "dll",
    "pl", "lua", "r", "exs", "jl", "hs", "kts",
})  # fmt: skip
STARTED_BY_PATH = {"npx-cli.js": "npx", "npm-cli.js": "npm"}
# Starters whose first word is a file of code, and their options whose value is code.
INTERPRETERS = frozenset({"node", "tsx", "ts-node", "python", "py", "ruby", "php"})
CODE = {
    "python": "-c", "py": "-c", "node": "-e --eval -p --print", "ruby": "-e", "php": "-r",
    "deno": "eval", "bun": "-e --eval",
}  # fmt: skip
SHELLS_OF_WINDOWS = frozenset({"cmd", "powershell", "pwsh"})
# Images of a system or a language, where the server is the command that runs in them.
BASES = frozenset({
    "node", "python", "uv", "bun", "deno", "alpine", "ubuntu", "debian", "fedora", "busybox",
    "golang", "openjdk", "ruby", "php",
})  # fmt: skip
# Words in the name of a program that leads to another server, as in `mcp-remote`.
LEADING = frozenset({
    "remote", "proxy", "gateway", "supergateway", "bridge", "launch", "launcher", "cli", "client",
    "run", "runner", "manager", "hub", "inspector", "wrap", "wrapper", "connect", "connector",
})  # fmt: skip
# Programs that fetch secrets for the command after `--`; their own words say nothing about it.
TRANSPARENT = frozenset({
    "op", "doppler", "infisical", "aws-vault", "chamber", "teller", "dotenvx", "dotenv", "bws",
    "envchain", "summon", "vault-env", "secretspec", "phase",
})  # fmt: skip
# Further programs that run what a folder's own files say; how they take their words is not known.
TOOLS_OF_A_PROJECT = frozenset({
    "mvn", "mvnw", "gradle", "gradlew", "sbt", "ant", "mix", "rake", "rails", "bazel", "bazelisk",
    "stack", "cabal", "dune", "swift", "dart", "lein", "clojure", "clj", "composer", "zig", "nx",
    "turbo", "lerna", "moon", "invoke", "inv", "nox", "tox", "pixi", "mise", "devbox", "foreman",
    "direnv",
})  # fmt: skip
# Options that configure a server, and words and options that say nothing about which server it is.
SETTINGS = frozenset({"port", "log-level", "transport", "timeout"})
SAY_LITTLE = frozenset({
    "mcp", "stdio", "serve", "server", "start", "run", "http", "sse", "streamable-http",
    "verbose", "debug", "quiet", "v",
})  # fmt: skip
