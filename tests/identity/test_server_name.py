"""A server's name from its command: what people write in their clients' configurations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeguard.identity.server_name import identify_remote, identify_server

NAMES = [
    # Node
    ("npx -y @modelcontextprotocol/server-filesystem /srv/notes", "server-filesystem"),
    ("npx -y @scope/x@1.2", "x"),
    ("npx -y @playwright/mcp@latest --headless", "playwright"),
    ("npx -y mcp", "mcp"),
    ("npx --yes mcp-remote@latest https://mcp.example.com/sse", "mcp.example.com"),
    ("npx -y -p @scope/tools tools-mcp --stdio", "tools-mcp"),
    ("npx --package=@scope/tools tools-mcp", "tools-mcp"),
    ("npm exec -- @scope/server-git", "server-git"),
    ("npm exec --yes --package=@scope/tools -- tool --x", "tool-*"),
    ("npm run mcp", "mcp-*"),
    ("npm --prefix /srv/app run mcp", "mcp-*"),
    ("pnpm dlx @scope/server-git", "server-git"),
    ("pnpm --dir /srv/app dlx @scope/server-git", "server-git"),
    ("pnpm --reporter silent dlx @scope/server-git", "server-git"),
    ("yarn dlx @scope/server-git", "server-git"),
    ("bunx @scope/server-git@2", "server-git"),
    ("bun x server-git", "server-git"),
    ("/usr/local/bin/npx -y server-git", "server-git"),
    ("deno run -A npm:@scope/server-git@1.0.0", "server-git"),
    ("deno run --allow-net jsr:@scope/server-git/stdio", "server-git"),
    ("node --import tsx node_modules/@scope/server-git/dist/index.js", "server-git"),
    ("node /srv/app/node_modules/server-git/build/main.js", "server-git"),
    ("npx tsx src/index.ts", "index-*"),
    ("npx -y chart.js", "chart.js"),
    ("npx -y github:owner/server-git", "server-git"),
    # Python
    ("uvx mcp-server-git --repository /srv/repo", "mcp-server-git"),
    ("uvx mcp-server-git==2025.7.1", "mcp-server-git"),
    ("uvx mcp-server-git@latest", "mcp-server-git"),
    ("uvx mcp-server-git[extra]>=1", "mcp-server-git"),
    ("uvx --from git+https://git.example.com/owner/repo serve-mcp", "serve-mcp"),
    ("uvx --from mcp-server-git --with httpx mcp-git", "mcp-git"),
    ("uvx --python 3.12 mcp-server-time --local-timezone=Europe/Oslo", "mcp-server-time"),
    ("uvx -w httpx mcp-server-git", "mcp-server-git"),
    ("uvx --directory /srv/x mcp-server-git", "mcp-server-git"),
    ("uvx --from srv==1.2.3 tool", "tool"),
    ("uv tool run mcp-server-time", "mcp-server-time"),
    ("uv run --with mcp server.py", "server-*"),
    ("uv run --with mcp[cli] mcp run server.py", "server-*"),
    ("uv --directory /srv/weather run weather.py", "weather-*"),
    ("uv run --project /srv/weather weather-mcp", "weather-mcp-*"),
    ("pipx run mcp-server-git", "mcp-server-git"),
    ("pipx run --spec mcp-server-git==1 mcp-git", "mcp-git"),
    ("pipx run --with httpx mcp-git", "mcp-git"),
    ("python -m mcp_server_time", "mcp_server_time"),
    ("python3.12 -u -m pkg.server --debug", "pkg.server"),
    ("python -um pkg", "pkg"),
    ("python -X utf8 -W ignore -m pkg", "pkg"),
    ("/srv/venv/bin/python -m pkg", "pkg"),
    ("/srv/venv/bin/mcp-server-git", "mcp-server-git"),
    # Containers
    ("docker run -i --rm mcp/fetch", "fetch"),
    ("docker run --pids-limit 100 -c 512 -i mcp/fetch", "fetch"),
    ("docker container run -i -- mcp/fetch", "fetch"),
    ("docker run -i --rm -e X ghcr.io/org/img:tag", "img"),
    ("docker run --rm -i -e KEY=value --mount type=bind,src=/a,dst=/b mcp/git@sha256:12ab", "git"),
    ("docker run -i --rm --env-file .env -v /a:/b localhost:5000/team/tool:1 --flag", "tool-*"),
    ("docker run -i --rm -l a=b --pull always -u 1000 -p 80:80 mcp/fetch serve", "fetch"),
    ("podman run -i --rm quay.io/org/img", "img"),
    ("docker exec -i container server-git", "container-*"),
    ("docker mcp gateway run", "gateway"),
    # What stands in front
    ("env A=B C=D npx server-git", "server-git"),
    ("env -u NAME -i PATH=/bin uvx server-git", "server-git"),
    ("sudo -u me server-git", "server-git"),
    ("timeout 60 uvx server-git", "server-git"),
    ("nice -n 5 uvx server-git", "server-git"),
    ("bash -c npx", "npx"),
    ("sh -c 'exec npx server-git'", "server-git"),
    ("bash -lc 'cd /srv && uvx server-git --x'", "server-git"),
    # Windows
    ("cmd /c npx -y @scope/x", "x"),
    ("cmd.exe /C npx.cmd -y @scope/x", "x"),
    (r"C:\\Users\\me\\AppData\\Local\\uv\\uvx.exe server-git", "server-git"),
    (r"C:\\Tools\\weather.exe --stdio", "weather-*"),
    (r"node C:\\Users\\me\\dist\\server.js", "server-*"),
    ("powershell -NoProfile -File serve.ps1", "serve-*"),
    # Programs by their path, of which many have the same name
    ("node /abs/dist/index.js", "index-*"),
    ("node dist/index.js", "index-*"),
    ("node --inspect ./index.mjs", "index-*"),
    ("python server.py", "server-*"),
    ("python /srv/weather/server.py --port 3", "server-*"),
    ("java -jar /srv/tool.jar", "tool-*"),
    ("java -Xmx1g -cp /srv/lib com.example.Server", "com.example.Server"),
    ("dotnet run --project /srv/Tool.csproj", "Tool-*"),
    ("go run ./cmd/server", "server-*"),
    ("go run example.com/owner/server-git@latest", "server-git"),
    ("cargo run --release --bin server-git", "server-git-*"),
    ("ruby -Ilib serve.rb", "serve-*"),
    ("server-git", "server-git"),
    ("./server", "server-*"),
    # What has no name
    ("npx", "npx"),
    ("@", "server"),
    ("..", "server-*"),
]


def words(command: str) -> list[str]:
    """Words as a shell splits them, with the backslashes of Windows left alone."""
    parts = re.findall(r"'[^']*'|\S+", command.replace("\\\\", "\\"))
    return [part.strip("'") for part in parts]


@pytest.mark.parametrize(("command", "name"), NAMES, ids=[command for command, _ in NAMES])
def test_a_command_has_the_name_that_a_person_would_give_it(command: str, name: str) -> None:
    found = identify_server(words(command)).name
    pattern = re.escape(name).replace(r"\*", "[0-9a-f]{6}")
    assert re.fullmatch(pattern, found), found


def test_the_same_command_has_the_same_name_and_another_path_another() -> None:
    one, other = ["node", "/srv/a/index.js"], ["node", "/srv/b/index.js"]
    assert identify_server(one).name == identify_server([*one, "--port", "1"]).name
    assert identify_server(one).name != identify_server(other).name


def test_where_it_is_started_does_not_change_the_name_of_an_absolute_path(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identify_server(["node", "/srv/a/index.js"]).name
    monkeypatch.chdir(str(tmp_path))
    assert identify_server(["node", "/srv/a/index.js"]).name == before


def test_a_name_is_short_and_harmless_in_a_shell_and_a_file() -> None:
    for word in ("a" * 300, "$(x);`y`|\n\x1b[1m", "-rf", "..", "é漢字\u202e", "a/../../b"):
        assert re.fullmatch(r"\w[\w.-]{0,59}", identify_server([word]).name, re.UNICODE), word


# Each row is one server, however it is started.
SAME = [
    (
        "npx -y @scope/server-git /srv/a",
        "npx -y @scope/server-git@1.2.3 /srv/b --port 3",
        "bunx @scope/server-git@latest",
        "cmd /c npx -y @scope/server-git",
        "npm exec -- @scope/server-git",
        "bash -c 'cd /tmp && exec npx @scope/server-git'",
        "op run --env-file=.env -- npx -y @scope/server-git",
        "doppler run --project x -- npx -y @scope/server-git",
        "env A=B npx -y @scope/server-git data",
        "/opt/homebrew/bin/npx -y @scope/server-git",
    ),
    ("uvx mcp-server-git", "uvx mcp_server_git==2025.1", "uv tool run mcp-server-git@latest"),
    (
        "docker run -i --rm -e TOKEN=1 ghcr.io/org/github-mcp-server:1.2",
        "docker run --rm -i ghcr.io/org/github-mcp-server@sha256:12ab stdio",
        "podman run -i ghcr.io/org/github-mcp-server",
    ),
    ("docker run -i mcp/fetch", "docker run -i docker.io/mcp/fetch:latest"),
    (
        "npx -y mcp-remote https://a.example.com/mcp",
        "npx mcp-remote@0.1.9 https://a.example.com/sse --header X:1",
        "uvx mcp-proxy --transport streamablehttp https://a.example.com/mcp?api_key=12",
    ),
    (
        "node /srv/a/index.js",
        "node --inspect /srv/a/index.js --port 3",
        "env A=B node /srv/a/index.js",
    ),
    (
        "node /home/me/.vscode/extensions/pub.ext-1.2.3/server.js",
        "node /home/me/.vscode/extensions/pub.ext-1.3.0/server.js",
    ),
    (
        "/usr/local/bin/weather --city Oslo",
        "weather --city Oslo -v",
        "/opt/homebrew/bin/weather --city Oslo",
    ),
    ("uv --directory /srv/w run server.py", "uv run --directory /srv/w server.py --verbose"),
    ("npm --prefix /srv/a run mcp", "npm run mcp --prefix=/srv/a", "npm run mcp --prefix /srv/a"),
    ("bash -c 'cd /srv && export A=1; exec npx -y x-mcp@1'", "npx x-mcp@2"),
    ("some-tool -e KEY=1 -m 7 serve", "some-tool -e KEY=2 -m 8 serve"),
    ("some-tool localhost:80", "some-tool localhost:81"),
    (
        "some-tool mail --api-key abc",
        "some-tool mail --api-key=xyz --port 3",
        "some-tool mail --log-level debug --verbose --stdio",
    ),
    ("github-mcp-server stdio --toolsets a", "github-mcp-server --toolsets b --read-only"),
    ("node /srv/a/index.js /srv/notes", "node /srv/a/index.js /srv/other --port 3"),
    ("docker run -i mcp/fetch --agent x", "docker run -i --network y mcp/fetch"),
    ("dotenv -f .env -- npx -y a-mcp", "npx -y a-mcp@2"),
    ("some-launcher --x -- npx -y a-mcp@1", "some-launcher --x -- npx -y a-mcp@2"),
    ("yarn mcp -p 1", "yarn mcp -p 2"),
    ("bash -c '. ~/env; npx x-mcp@1.2'", "bash -c '. ~/env; npx x-mcp@1.3'"),
    ("python -m mcp_server_time", "/usr/bin/python3.12 -u -m mcp_server_time --tz Oslo"),
]
# In each row no two are the same.
DIFFERENT = [
    (
        "/srv/a/node_modules/.bin/mcp-one",
        "/srv/a/node_modules/.bin/mcp-two",
        "/srv/b/node_modules/.bin/mcp-two",
    ),
    (
        "npx -y mcp-remote https://a.example.com/mcp",
        "npx -y mcp-remote https://b.example.com/mcp",
        "npx -y mcp-remote https://b.example.com/other/mcp",
        "npx -y mcp-remote https://b.example.com/mcp?app=one",
        "npx -y mcp-remote https://b.example.com:8443/mcp",
    ),
    ("op run -- npx -y server-a", "op run -- npx -y server-b", "op run -- uvx server-a"),
    (
        "docker compose run --rm weather",
        "docker compose run --rm mail",
        "docker compose -f /srv/other/compose.yaml run --rm mail",
        "docker compose --project-directory=/srv/third run --rm mail",
        "docker run -i weather",
        "docker exec -i weather serve",
    ),
    (
        "npm --prefix /srv/a run mcp",
        "npm --prefix /srv/b run mcp",
        "npm --prefix=/srv/c run mcp",
        "npm --prefix /srv/a start",
        "npm run mcp",
    ),
    ("poetry run weather", "poetry run mail", "poetry -C /srv/p run mail", "uv run mail"),
    ("nix run nixpkgs#a-mcp -- --x", "nix run nixpkgs#b-mcp", "nix run github:a/b#b-mcp"),
    ("docker mcp gateway run --servers a", "docker mcp gateway run --servers=b", "docker mcp b"),
    ("npm run python", "npm run node", "pnpm mcp", "yarn mcp"),
    ("python -c 'import a; a.main()'", "python -c 'import b; b.main()'", "node -e 'import b'"),
    ("node /srv/a/server", "node /srv/b/server", "python /srv/c/server", "node server"),
    ("powershell -Command 'npx -y a-mcp'", "powershell -Command 'npx -y b-mcp'"),
    ("powershell -Command 'npx -y @a/mcp'", "powershell -Command 'npx -y @b/mcp'"),
    ("deno task a", "deno task b", "deno run -A npm:a"),
    ("perl /srv/a/server.pl", "perl /srv/b/server.pl", "Rscript /srv/a/server.R"),
    ("npx --prefix /srv/a x-mcp", "npx --prefix /srv/b x-mcp"),
    (
        "make mcp",
        "make node",
        "make other",
        "make -C /srv/m other",
        "make -f /srv/n/Makefile other",
    ),
    ("npx -y @one/mcp", "npx -y @two/mcp", "uvx mcp-x", "npx -y mcp-x", "npx -p @one/mcp mcp-x"),
    ("npx @smithery/cli run @a/mail", "npx -y @smithery/cli@latest run @b/mail --key abc"),
    ("docker run -i node:20 npx -y a-mcp", "docker run -i node:20 npx -y b-mcp"),
    (
        "docker run -i -v /srv/a:/app node node /app/index.js",
        "docker run -i -v /srv/b:/app node node /app/index.js",
    ),
    ("ssh one npx -y a-mcp", "ssh two npx -y a-mcp", "npx -y a-mcp"),
    ("/srv/a/.venv/bin/python -m app", "/srv/b/.venv/bin/python -m app", "python -m app"),
    ("/srv/a/.venv/bin/serve", "/srv/b/.venv/bin/serve"),
    ("uv --directory /srv/a run server.py", "uv --directory /srv/b run server.py"),
    ("some-launcher --server mail", "some-launcher --server files", "some-launcher run db"),
    ("some-launcher npx -y a-mcp", "some-launcher npx -y b-mcp"),
    ("npx -y supergateway --stdio 'npx -y a-mcp'", "npx -y supergateway --stdio 'npx -y b-mcp'"),
    (
        "npx -y supergateway --sse https://a.example.com/sse",
        "npx -y supergateway --sse https://b.example.com/sse",
    ),
    ("java -cp /srv/a.jar com.example.Main", "java -cp /srv/b.jar com.example.Main"),
    (
        "uvx --from git+https://git.example.com/a/x serve",
        "uvx --from git+https://git.example.com/b/x serve",
    ),
    ("bash -c 'cd /srv/a && npm run mcp'", "bash -c 'cd /srv/b && npm run mcp'"),
    ("npm run mcp --prefix /srv/a", "npm run mcp --prefix /srv/b", "npm run mcp -w c"),
    ("pnpm --filter a start", "pnpm --filter b start", "pnpm start"),
    ("make -C/srv/a mcp", "make -C/srv/b mcp"),
    ("docker run -v/srv/a:/s python /s/x.py", "docker run -v/srv/b:/s python /s/x.py"),
    ("bash -c 'npx a-mcp; true'", "bash -c 'npx b-mcp; true'", "bash -c '(npx a-mcp)'"),
    ("bash -c '. /srv/a.sh; npx a-mcp'", "bash -c '. /srv/b.sh; npx a-mcp'", "npx a-mcp"),
    ("fish -c 'npx a-mcp'", "fish -c 'npx b-mcp'", "su me -c 'npx a-mcp'"),
    ("perl -e 'a()'", "perl -e 'b()'", "pypy -m a", "pypy -m b", "jbang a@one", "jbang b@one"),
    ("uvicorn a:app", "uvicorn b:app", "mvn -f /srv/a run", "mvn -f /srv/b run"),
    ("uvx some-mcp -- uvx a-mcp", "uvx some-mcp -- uvx b-mcp"),
    ("make mcp DIR=a", "make mcp DIR=b", "make mcp"),
    ("just mcp a", "just mcp b", "task mcp -- a", "task mcp -- b"),
    ("npm run mcp -- --server a", "npm run mcp -- --server b", "npm run mcp -- --server=c"),
    ("fastmcp run a.py:x", "fastmcp run a.py:y", "fastmcp run a.py", "mcp run b.py:y"),
    ("python -m fastmcp run a.py", "python -m fastmcp run b.py"),
    ("python -m uvicorn a:app", "python -m uvicorn b:app"),
    ("sops exec-env a.env 'npx -y a-mcp'", "sops exec-env a.env 'npx -y b-mcp'"),
    ("docker compose -p one run x", "docker compose -p two run x", "docker compose run x"),
    ("docker compose -f a.yml up", "docker compose -f b.yml up"),
    ("docker -H tcp://a.example.com run x", "docker --context b run x", "docker run x"),
    ("uv run --directory /srv/a serve", "uv run --directory /srv/b serve"),
    ("direnv exec /srv/a node server.js", "direnv exec /srv/b node server.js"),
    ("conda run -n a python -m srv", "conda run -n b python -m srv", "conda run -n a srv"),
    ("distrobox enter a -- srv", "distrobox enter b -- srv", "firejail --x -- srv", "srv"),
    ("some-tool --profile a", "some-tool --profile=b", "some-tool -x c", "some-tool /srv/d"),
    ("some-tool '' a", "some-tool '' b", "some-tool --no-auth -x", "some-tool --no-auth -y"),
    ("some-tool --auth-server a", "some-tool --auth-server b", "some-tool --keyspace c"),
    ("some-tool --mail 3", "some-tool --files 3"),
    ("./run.sh -s mail", "./run.sh -s files", "./run.sh --server=c", "./run.sh"),
    ("python server.py --app mail", "python server.py --app files"),
    ("mvn exec:java -Dexec.mainClass=A", "mvn exec:java -Dexec.mainClass=B"),
    ("nc a.example.com 1", "nc a.example.com 2", "socat - UNIX:/tmp/a", "socat - UNIX:/tmp/b"),
    ("npx a@npm:b", "npx a@npm:c", "npx a@file:/x", "npx a@file:/y"),
    ("node /srv/a/node_modules/x/../../i.js", "node /srv/b/node_modules/x/../../i.js"),
]


@pytest.mark.parametrize("commands", SAME, ids=lambda row: row[0])
def test_one_server_is_the_same_however_it_is_started(commands: tuple[str, ...]) -> None:
    assert len({identify_server(words(command)).identity for command in commands}) == 1


@pytest.mark.parametrize("commands", DIFFERENT, ids=lambda row: row[0])
def test_different_servers_are_told_apart(commands: tuple[str, ...]) -> None:
    assert len({identify_server(words(command)).identity for command in commands}) == len(commands)


def test_an_address_is_the_same_behind_a_proxy_and_without_one() -> None:
    behind = identify_server(words("npx -y mcp-remote https://a.example.com/mcp"))
    assert behind.identity == identify_remote("https://a.example.com/mcp").identity
    assert behind.identity == identify_remote("wss://me:secret@A.example.com/ws?token=1").identity


def test_a_module_of_the_folder_is_that_folder_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "server.py").touch()
    one, two = (
        identify_server(["python", "-m", "server"], str(tmp_path / n)) for n in ("one", "two")
    )
    assert one.identity != two.identity
    installed = [
        identify_server(["python", "-m", "mail"], str(tmp_path / n)) for n in ("one", "two")
    ]
    assert installed[0].identity == installed[1].identity


@pytest.mark.parametrize(
    "command",
    ["fastmcp run server.py:app", "mvn exec:java", "perl serve.pl", "sh run.sh", "mise run x"],
)
def test_what_a_folder_s_files_say_is_that_folder_s(command: str) -> None:
    one, two = (identify_server(words(command), folder) for folder in ("/srv/one", "/srv/two"))
    assert one.identity != two.identity


@pytest.mark.parametrize(
    "command", ["weather --city Oslo", "uvx mcp-server-git", "python -m pkg x"]
)
def test_what_is_installed_is_the_same_in_every_folder(command: str) -> None:
    one, two = (identify_server(words(command), folder) for folder in ("/srv/one", "/srv/two"))
    assert one.identity == two.identity


def test_what_is_told_holds_no_secret() -> None:
    told = identify_remote("https://me:hunter2@a.example.com/mcp?api_key=hunter2").description
    assert told == "url a.example.com"


def test_strange_words_are_read_all_the_same() -> None:
    for command in (
        [""],
        ["npx", ""],
        ["docker"],
        ["docker", "run"],
        ["docker", "compose"],
        ["uvx", "--from"],
        ["ssh"],
        ["bash", "-c"],
        ["bash", "-c", ""],
        ["op", "--"],
        ["--"],
        ["python", "-m"],
        ["npx"] * 20_000,  # a line of a repository, which `assess` reads
        ["x", "--"] * 40,
        ["timeout"],
    ):
        assert identify_server(command).name


def test_a_word_that_no_encoding_has_is_named_too() -> None:
    assert (
        identify_server(["npx", "@", "\ud800"]).name != identify_server(["npx", "@", "\udc80"]).name
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv"], False),
        (["npx", "mcp-remote", "https://a.example/mcp"], True),
        (["uvx", "mcp-proxy", "http://127.0.0.1:8000/sse"], False),
        (["ssh", "host", "server"], True),
    ],
)
def test_a_command_that_leads_elsewhere_is_told(command: list[str], *, expected: bool) -> None:
    assert identify_server(command).is_elsewhere is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000/mcp", False),
        ("http://[::1]:8000/mcp", False),
        ("https://127.0.0.1/mcp?a=1", False),
        ("https://localhost.evil.example/mcp", True),
        ("http://10.0.0.5/mcp", True),
        ("https://127.0.0.1.evil.example/", True),
    ],
)
def test_an_address_is_here_only_on_the_loopback(url: str, *, expected: bool) -> None:
    assert identify_remote(url).is_elsewhere is expected
