"""Tables of the programs that start servers in clients' configurations; nothing else."""

from __future__ import annotations

_UV = (
    "--with --with-editable --with-requirements --python -p --constraints -c --overrides "
    "--env-file --cache-dir --config-file --extra --group --only-group"
)
_DOCKER = (
    "-e --env --env-file --name --network --net -p --publish -u --user -w "
    "--workdir -h --hostname --add-host -l --label --pull --platform -m --memory "
    "--cpus --gpus --device --cap-add --cap-drop --security-opt --tmpfs --ulimit --log-driver "
    "--log-opt --dns --ipc --pid --shm-size --restart --runtime --secret --context -H --config "
    "--volumes-from --expose --link --group-add --annotation --userns --stop-signal "
    "--project-name --profile --index --ansi --progress --parallel"
)
# Programs that start the server, and their options whose value is not the server. (The value of
# `-jar`, `--bin`, `-File` and the like is the server.)
STARTERS = {
    "npx": "",
    "bunx": "",
    "pnpx": "",
    "npm": "",
    "pnpm": "",
    "yarn": "",
    "bun": "",
    "deno": "-c --config --import-map",
    "node": "-r --require --import --loader --experimental-loader --env-file -C --conditions",
    "tsx": "--tsconfig",
    "ts-node": "-P --project",
    "uv": _UV,
    "uvx": _UV,
    "pipx": "--python --pip-args",
    "poetry": "",
    "pdm": "",
    "pipenv": "",
    "hatch": "-e --env",
    "rye": "",
    "bundle": "",
    "python": "-W -X",
    "py": "-W -X",
    "mcp": "-t --transport --with -f --env-file -v --env-var",
    "fastmcp": "-t --transport --with --project --python --host --port -p",
    "docker": _DOCKER,
    "podman": _DOCKER,
    "nerdctl": _DOCKER,
    "docker-compose": _DOCKER,
    "java": "",
    "dotnet": "-c --configuration -f --framework",
    "dnx": "",
    "nix": "",
    "go": "",
    "cargo": "--features",
    "ruby": "-r -I -C",
    "php": "-d -c",
    "make": "-j --jobs",
    "just": "",
    "task": "",
    "env": "-u --unset",
    "sudo": "-u --user -g --group",
    "timeout": "-s --signal -k --kill-after",
    "nice": "-n --adjustment",
    "nohup": "",
    "stdbuf": "-i -o -e",
    "cmd": "",
    "powershell": "-ExecutionPolicy -WorkingDirectory",
    "pwsh": "-ExecutionPolicy -WorkingDirectory",
    "sh": "",
    "bash": "",
    "dash": "",
    "zsh": "",
}
# Their options that name the project's folder ...
FOLDERS = {
    "npm": "--prefix -C",
    "pnpm": "--dir -C",
    "yarn": "--cwd",
    "bun": "--cwd",
    "uv": "--directory --project",
    "poetry": "-C --directory -P --project",
    "pdm": "-p --project",
    "cargo": "--manifest-path",
    "make": "-C --directory -f --file --makefile",
    "just": "-f --justfile -d --working-directory",
    "task": "-d --dir -t --taskfile",
    "env": "-C --chdir",
    "docker": "-f --file --project-directory",
    "docker-compose": "-f --file --project-directory",
    "podman": "-f --file --project-directory",
}
_INDEXES = "--from --index --default-index --index-url -i --extra-index-url"
# ... and those that say what is run, in addition to the word that does.
SOURCES = {
    "npx": "-p --package --registry -w --workspace --prefix",
    "bunx": "-p --package",
    "pnpx": "-p --package",
    "npm": "-p --package --registry -w --workspace",
    "pnpm": "-F --filter --package",
    "yarn": "-p --package",
    "uv": f"{_INDEXES} --package --only-package",
    "uvx": _INDEXES,
    "pipx": "--spec --index-url -i",
    "java": "-cp -classpath --class-path -p --module-path",
    "cargo": "-p --package",
    "docker": "--entrypoint -v --volume --mount -H --host --context",
    "podman": "--entrypoint -v --volume --mount --url --connection -c",
    "nerdctl": "--entrypoint -v --volume --mount",
    "docker-compose": "--entrypoint -H --host --context",
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
VERBS = frozenset({"run", "exec", "dlx", "x", "tool", "--", "/c", "/C"})
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
