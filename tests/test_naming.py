"""A server's name from its command: what people write in their clients' configurations."""

from __future__ import annotations

import re

import pytest

from pipeguard.naming import server_name

NAMES = [
    # Node
    ("npx -y @modelcontextprotocol/server-filesystem /srv/notes", "server-filesystem"),
    ("npx -y @scope/x@1.2", "x"),
    ("npx --yes mcp-remote@latest https://mcp.example.com/sse", "mcp-remote"),
    ("npx -y -p @scope/tools tools-mcp --stdio", "tools-mcp"),
    ("npx --package=@scope/tools tools-mcp", "tools-mcp"),
    ("npm exec -- @scope/server-git", "server-git"),
    ("npm run mcp", "mcp"),
    ("npm --prefix /srv/app run mcp", "mcp"),
    ("pnpm dlx @scope/server-git", "server-git"),
    ("pnpm --dir /srv/app dlx @scope/server-git", "server-git"),
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
    ("uv tool run mcp-server-time", "mcp-server-time"),
    ("uv run --with mcp server.py", "server-*"),
    ("uv run --with mcp[cli] mcp run server.py", "server-*"),
    ("uv --directory /srv/weather run weather.py", "weather-*"),
    ("uv run --project /srv/weather weather-mcp", "weather-mcp"),
    ("pipx run mcp-server-git", "mcp-server-git"),
    ("pipx run --spec mcp-server-git==1 mcp-git", "mcp-git"),
    ("python -m mcp_server_time", "mcp_server_time"),
    ("python3.12 -u -m pkg.server --debug", "pkg.server"),
    ("python -um pkg", "pkg"),
    ("python -X utf8 -W ignore -m pkg", "pkg"),
    ("/srv/venv/bin/python -m pkg", "pkg"),
    ("/srv/venv/bin/mcp-server-git", "mcp-server-git"),
    # Containers
    ("docker run -i --rm mcp/fetch", "fetch"),
    ("docker run -i --rm -e X ghcr.io/org/img:tag", "img"),
    ("docker run --rm -i -e KEY=value --mount type=bind,src=/a,dst=/b mcp/git@sha256:12ab", "git"),
    ("docker run -i --rm --env-file .env -v /a:/b localhost:5000/team/tool:1 --flag", "tool"),
    ("docker run -i --rm -l a=b --pull always -u 1000 -p 80:80 mcp/fetch serve", "fetch"),
    ("podman run -i --rm quay.io/org/img", "img"),
    ("docker exec -i container server-git", "container"),
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
    ("cargo run --release --bin server-git", "server-git"),
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
    found = server_name(words(command))
    pattern = re.escape(name).replace(r"\*", "[0-9a-f]{6}")
    assert re.fullmatch(pattern, found), found


def test_the_same_command_has_the_same_name_and_another_path_another() -> None:
    one, other = ["node", "/srv/a/index.js"], ["node", "/srv/b/index.js"]
    assert server_name(one) == server_name([*one, "--port", "1"])
    assert server_name(one) != server_name(other)


def test_where_it_is_started_does_not_change_the_name_of_an_absolute_path(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = server_name(["node", "/srv/a/index.js"])
    monkeypatch.chdir(str(tmp_path))
    assert server_name(["node", "/srv/a/index.js"]) == before


def test_a_name_is_short_and_harmless_in_a_shell_and_a_file() -> None:
    for word in ("a" * 300, "$(x);`y`|\n\x1b[1m", "-rf", "..", "é漢字\u202e", "a/../../b"):
        assert re.fullmatch(r"\w[\w.-]{0,59}", server_name([word]), re.UNICODE), word
