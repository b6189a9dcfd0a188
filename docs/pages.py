"""Write the site's pages: those in this folder, and those whose source is elsewhere.

Commands come from their help, rules from the packs, checks from their modules, clients from their
files, credentials from `credentials.tsv`, and lists from the tables that the code goes by. `make
docs` builds the site; git does not have these pages. A scene of `pipeguard demo` is renewed in the
README.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click

from pipeguard.assess.checking import checks, page
from pipeguard.cli import cli
from pipeguard.clients.catalog import FileSpec, clients
from pipeguard.detect.rules.rule import Rule, Sample
from pipeguard.firewall.finding import Action
from pipeguard.firewall.protocol.places import known_places
from pipeguard.firewall.session.remedies import BY_RULE, Way, find_remedy
from pipeguard.isolation.shipped import ShippedProfile, all_shipped
from pipeguard.rulebook.actions import usual_action
from pipeguard.rulebook.packs import load_rules, sources
from pipeguard.transports.http.server.admission import RefusalReason

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
FAMILIES = HERE / "credentials.tsv"
README = TOP / "README.md"
WORTH = TOP / "benchmarks" / "detection" / "worth.md"
COLUMNS = 100
HEAD = """\
# Commands

Made from `--help` by `make docs`. See also [exit codes](reference.md#exit-codes).
"""
CLIENTS_HEAD = """\
# Clients

Made from `pipeguard/clients/*.yaml` by `make docs`. See also [setup](setup.md).

`{home}` is your home directory; `{config}` is `~/.config`, on macOS
`~/Library/Application Support`, on Windows `%APPDATA%`; `{xdg}` is `$XDG_CONFIG_HOME` or
`~/.config`; `{unix}` the same, on Windows `%APPDATA%`; `{appdata}` is `%APPDATA%`, and
`{localappdata}` `%LOCALAPPDATA%`; `{project}` is the current folder, and each
above it up to the top of its repository. PipeGuard looks for a file only if the variables in its
path are set.
"""
CHECKS_HEAD = """\
# Checks

Made from `pipeguard/assess/checks/*.py` by `make docs`. See also [assess](../assess.md). The
severity is that of the worst case; a finding may have a lower one.

| check | severity | what it finds |
|---|---|---|
"""
NEXT_STEPS_HEAD = """\
# What you can do about a block

Made by `make docs` from the table that the log, the messages, `pipeguard explain` and
`pipeguard allow` use. See also [policy](policy.md).

A row of a family, such as `protocol.*`, is for all of its rules that have no row of their own. If
several rules stopped one message, the strictest row decides.

| rule | what lets it pass | what to do |
|---|---|---|
"""
SHOWN_CHARS = 300  # of a sample: a few are whole pages
MADE_FROM_PACK = "<!-- Made from rules/{pack}.yaml by `make docs`. -->"

TOLD_BY = (
    "- Told by: a [classifier](../detection.md#classifiers) whose weights are in `rules/{model}`,"
    " not by a pattern. How sure it is goes with the passage; the confidence above is that of a"
    " sure one."
)
WAYS = {
    Way.EXCEPTION: "an exception: `pipeguard allow EVENT`",
    Way.GRANT: "a grant: `pipeguard allow EVENT`",
    Way.APPROVE: "your approval: `pipeguard approve SERVER`",
    Way.POLICY: "a key of your policy",
    Way.OPTION: "an option of the command",
    Way.NOTHING: "nothing",
}
CREDENTIALS_HEAD = """\
# Credentials

Made from `docs/credentials.tsv` by `make docs`. See also [rules](rules/secrets.md).

The credentials that gitleaks, TruffleHog and detect-secrets know, and the rules that find them
here. The rules come from what vendors document, not from those tools' patterns.

| found by | families |
|---|---|
"""
# What a page links to, so that the link works in a clone, and the page that the site has for it.
MADE_OF = {
    "../SECURITY.md": "security.md",
    "../benchmarks/detection/worth.md": "worth.md",
    "../pipeguard/assess/checks": "checks/index.md",
    "../pipeguard/cli": "commands.md",
    "../pipeguard/clients": "clients.md",
    "../pipeguard/firewall/protocol/places.py": "lists.md#places",
    "../pipeguard/firewall/session/remedies.py": "next-steps.md",
    "../pipeguard/transports/http/server/admission.py": "lists.md#refused-requests",
    "../rules": "rules/index.md",
    "credentials.tsv": "credentials.md",
}
_LINK = re.compile(r"\]\(([^)#]+)")
STATES = {
    "own": "rules for the form, or for the vendor's name beside the value",
    "named": "the general rules: the value has no form of its own, and is beside a name",
    "public": "nothing that stops it: it opens nothing by itself, or is made for browsers",
    "retired": "no rule of its own: the service has ended; a key is still found by its name",
    "none": "nothing: it is not a credential",
}
NAMED = """
*By its name* means that the general rules find it, whatever the vendor. They look for a random
value after the name of a variable, a setting or a header (`VENDOR_API_KEY=…`,
`X-Vendor-Key: …`), in an API's address, in a command, or in a sentence: {rules}.

| vendor | kind | found by | its documentation |
|---|---|---|---|
"""
GENERAL = (
    *("secret-assignment", "env-assignment", "secret-beside", "secret-said", "key-header"),
    *("authorization-header", "bearer-token", "key-in-address", "key-of-service", "command-token"),
    *("command-line-secret", "other-vendor-key", "key-as-argument", "password-assignment"),
)
SOURCES = {
    "client": "from the client's own source or documentation",
    "agreed": "several independent tools agree",
    "reported": "from one secondary source: check what `--dry-run` shows",
}
LISTS_HEAD = """\
# Lists

Made by `make docs` from the tables that the code uses.
"""
PLACES_HEAD = """
## Places

Where in a message a text is. A glob such as `result.*` names several. See [policy](policy.md).

| of | places |
|---|---|
"""
REFUSALS_HEAD = """
## Refused requests

Why PipeGuard refuses an HTTP request. See [wrap over HTTP](http.md).

| rule | why |
|---|---|
"""
SERVERS_HEAD = """
## Servers that isolation knows

With `--isolate` these packages get what the table says, and you add the rest
([isolation](isolation.md)). A kept home begins empty.

| package | gets | you add |
|---|---|---|
"""
DEMO = re.compile(r"(?<=^\$ make demo\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
# The name of the run in its events, which differs from run to run.
EVENT = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{8}(?=\.[cs]\d)")
OWN_PATH = re.compile(r"(?<=what next    ).*(?= explain )")  # as `make demo` has it
SCENE = "2. "  # the scene that the README shows


def walk_commands(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command below a group, with its full name."""
    context = click.Context(group, info_name=words)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from walk_commands(command, f"{words} {name}")
        elif command is not None and not command.hidden:
            yield f"{words} {name}", command


def render_help(words: str, command: click.Command) -> str:
    """Render the help of a command, as users see it."""
    command = copy(command)
    command._help_option = None  # click caches it under the names of the first context
    context = click.Context(
        command,
        info_name=words,
        terminal_width=COLUMNS,
        max_content_width=COLUMNS,
        help_option_names=["-h", "--help"],
    )
    lines = (line.rstrip() for line in command.get_help(context).splitlines())
    return f"\n## {words}\n\n```text\n{chr(10).join(lines)}\n```\n"


def render_commands() -> str:
    """Render the page of commands."""
    return HEAD + "".join(render_help(*named) for named in walk_commands(cli, "pipeguard"))


def render_rules() -> dict[str, str]:
    """Render a page for each shipped pack, and their index.

    A sample that is a recipe is shown as a recipe: no page contains a live-looking token.
    """
    packs: dict[str, list[Rule]] = {}
    for rule in load_rules(pack for pack in sources() if pack.shipped):
        packs.setdefault(rule.pack, []).append(rule)
    pages = {pack: render_pack(pack, rules) for pack, rules in sorted(packs.items())}
    pages["index"] = render_pack_index(packs)
    return {f"rules/{name}.md": text for name, text in pages.items()}


def render_pack_index(packs: dict[str, list[Rule]]) -> str:
    """Render the list of packs."""
    lines = [
        f"{MADE_FROM_PACK.format(pack='*')}\n# Rules\n",
        "Each rule with its samples. How to read and write one: [rules](../rules.md).\n",
        "| pack | rules | of which block or cut by default |\n|---|---|---|",
    ]
    for pack, rules in sorted(packs.items()):
        blocking = sum(usual_action(rule) >= Action.CUT for rule in rules)
        lines.append(f"| [{pack}]({pack}.md) | {len(rules)} | {blocking} |")
    return "\n".join(lines) + "\n"


def render_pack(pack: str, rules: list[Rule]) -> str:
    """Render the page of a pack."""
    lines = [MADE_FROM_PACK.format(pack=pack), f"# Rules: {pack}", ""]
    lines += ["| rule | finds | severity | confidence | by default |", "|---|---|---|---|---|"]
    for rule in rules:
        name, title = rule.id.partition(".")[2], rule.title.replace("|", "\\|")
        lines.append(
            f"| [{name}](#{rule.id.replace('.', '')}) | {title}"
            f" | {rule.severity.name.lower()} | {rule.confidence.name.lower()}"
            f" | {usual_action(rule).name.lower()} |"
        )
    for rule in rules:
        lines += ["", *render_rule(rule)]
    return "\n".join(lines) + "\n"


def render_rule(rule: Rule) -> list[str]:
    """Render the section of a rule."""
    looks = ", ".join(sorted(surface.value for surface in rule.surfaces))
    at = f" ({', '.join(f'`{place}`' for place in rule.places)})" if rule.places else ""
    views = ", ".join(sorted(view.value for view in rule.views))
    lines = [
        f"## {rule.id}\n\n{rule.title}. {rule.why}\n\n- What to do: {rule.fix}",
        f"- Looks at: {looks}{at}; read as {views}.",
    ]
    if rule.model:
        lines.append(TOLD_BY.format(model=rule.model))
    checks = [f"`{spec}`" for spec in (*rule.require, *rule.check)]
    if checks:
        lines.append(f"- Checked by: {', '.join(checks)}.")
    if rule.owasp:
        lines.append(f"- OWASP: {rule.owasp}.")
    lines += ["\nFinds:\n", *render_samples(rule.matches)]
    return [*lines, "\nLets by:\n", *render_samples(rule.passes)]


def render_samples(samples: Iterable[Sample]) -> list[str]:
    """One line for each sample, whose own line ends are shown as `↵`."""
    lines = []
    for sample in samples:
        text = sample if isinstance(sample, str) else sample["gen"]
        shown = text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
        line = shown.replace("\n", "↵")
        lines.append("".join(c if c.isprintable() else f"⟨U+{ord(c):04X}⟩" for c in line))
    return ["~~~~text", *lines, "~~~~"]


def render_clients() -> str:
    """Render the page of clients: the known clients, and where their servers are."""
    rows = [CLIENTS_HEAD]
    for client in clients().values():
        rows.append(f"\n## {client.name}\n\n`pipeguard setup {client.id}`")
        rows.append(f"  \nLooked up {client.checked}; {SOURCES[client.source]}.")
        rows.append(f"  \n{client.after}" if client.after else "")
        rows.append(f"  \nIts own list: `{client.list_command}`" if client.list_command else "")
        rows.append("\n")
        if client.paste:
            rows.append(f"\nNo file: {client.paste}\n")
            continue
        for name, places in client.folders.items():
            listed = ", ".join(f"`{place}`" for place in places.get("linux", ()))
            rows.append(f"\nOn Linux, `{{{name}}}` is the first of these that is set: {listed}\n")
        rows.append("\n| whose | file | format, key |\n|---|---|---|\n")
        for spec in client.files:
            keys = ", ".join(f"`{'.'.join(path) or 'the whole file'}`" for path in spec.servers)
            rows.append(
                f"| {spec.scope.value} | {_render_places(spec)} | {spec.format}, {keys} |\n"
            )
    return "".join(rows)


def render_checks() -> dict[str, str]:
    """Render a page for each check of `assess`, and their index."""
    pages = {f"checks/{check.id}.md": page(check) for check in checks().values()}
    ordered = sorted(checks().values(), key=lambda check: (-check.severity, check.id))
    rows = "".join(
        f"| [{check.id}]({check.id}.md) | {check.severity.name.lower()} | {check.title} |\n"
        for check in ordered
    )
    return {**pages, "checks/index.md": CHECKS_HEAD + rows}


class Family(NamedTuple):
    """One kind of credential of one vendor: a line of `credentials.tsv`."""

    vendor: str
    kind: str
    state: str
    source: str

    @property
    def status(self) -> str:
        """Its state in one word: a key of STATES."""
        word = self.state.partition(" ")[0]
        return word if word in STATES else "own"

    @property
    def rules(self) -> list[str]:
        """The ids of the rules that it names."""
        is_public = self.status == "public"
        named = self.state.removeprefix("public") if is_public else self.state
        return re.findall(r"[a-z0-9-]+", named) if self.status == "own" or is_public else []


def read_families() -> list[Family]:
    """Read the families of credentials."""
    families = []
    for number, line in enumerate(FAMILIES.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != len(Family._fields):
                names = ", ".join(Family._fields)
                sys.exit(f"{FAMILIES}:{number}: expected {names}, with a tab between each two")
            families.append(Family(*fields))
    return families


def render_credentials() -> str:
    """Render the page of credentials: each family with what finds it."""
    known = read_families()
    counts = Counter(family.status for family in known)
    rows = [CREDENTIALS_HEAD]
    rows += [f"| {meaning} | {counts[state]} |\n" for state, meaning in STATES.items()]
    rows.append(NAMED.format(rules=", ".join(map(_link_rule, GENERAL))))
    rows += [
        f"| {family.vendor} | {family.kind} | {_render_finders(family)} "
        f"| [{family.source}](https://{family.source}) |\n"
        for family in known
    ]
    return "".join(rows)


def _render_finders(family: Family) -> str:
    links = ", ".join(map(_link_rule, family.rules))
    return {
        "own": links,
        "named": "by its name",
        "public": f"public{': ' if links else ''}{links}",
        "retired": f"by its name; the service ended in {family.state.rpartition(' ')[2]}",
        "none": f"nothing: {family.state.removeprefix('none ')}",
    }[family.status]


def _link_rule(rule: str) -> str:
    return f"[{rule}](rules/secrets.md#secrets{rule})"


def _render_places(spec: FileSpec) -> str:
    """Render the places of a file, by system if they differ."""
    by_places: dict[tuple[str, ...], list[str]] = {}
    for system, places in spec.places.items():
        by_places.setdefault(places, []).append(system)
    lines = []
    for places, systems in by_places.items():
        if places:
            which = "" if len(systems) == len(spec.places) else f"{', '.join(systems)}: "
            lines.append(which + "<br>".join(f"`{place}`" for place in places))
    return "<br>".join(lines) + (" (the first)" if spec.first else "")


def render_next_steps() -> str:
    """Render the page of what lets each rule pass."""
    rows = {rule: find_remedy(rule) for rule in BY_RULE}
    rows["all others"] = find_remedy("")
    lines = []
    for rule, remedy in rows.items():
        name = f"`{rule}*`" if rule.endswith(".") else f"`{rule}`" if "." in rule else rule
        way = WAYS[remedy.way] + (f", `{remedy.key}`" if remedy.key else "")
        lines.append(f"| {name} | {way} | {remedy.advice} |\n")
    return NEXT_STEPS_HEAD + "".join(lines)


def render_demo() -> dict[Path, str]:
    """Render the README with a scene as the demonstration prints it today."""
    with TemporaryDirectory() as state:  # the user's own keeps the events of their demonstration
        done = subprocess.run(
            [sys.executable, "-E", "-P", "-m", "pipeguard", "demo"],
            env={**os.environ, "COLUMNS": str(COLUMNS), "PIPEGUARD_STATE_DIR": state},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    shown = OWN_PATH.sub(".venv/bin/pipeguard", EVENT.sub("K7Q2M9D4", done.stdout))
    scene = "\n\n".join(part for part in shown.split("\n\n") if part.startswith(SCENE))
    return {README: DEMO.sub(lambda _: f"…\n{scene}\n…\n", README.read_text("utf-8"))}


def render_lists() -> str:
    """Render the page of places, refused requests and known servers."""
    places: dict[str, list[str]] = {}
    for name in known_places():
        places.setdefault(name.partition(".")[0], []).append(f"`{name}`")
    known = sorted((key.partition(":")[2], each) for each in all_shipped() for key in each.packages)
    return "".join(
        [
            LISTS_HEAD,
            PLACES_HEAD,
            *(f"| {part} | {', '.join(names)} |\n" for part, names in places.items()),
            REFUSALS_HEAD,
            *(f"| `{reason.rule}` | {reason.words} |\n" for reason in RefusalReason),
            SERVERS_HEAD,
            *(_render_server(name, each) for name, each in known),
        ]
    )


def _render_server(package: str, server: ShippedProfile) -> str:
    gets = [f"`{host}`" for host in server.hosts]
    gets += ["a kept home"] if server.keeps_home else []
    of_git = ["changes to `.git` in its folders", "your git identity and settings"]
    gets += of_git if server.serves_git else []
    gets += [f"`{name}={value}`" for name, value in server.variables.items()]
    return f"| `{package}` | {', '.join(gets) or 'nothing'} | {server.needs} |\n"


def render_site() -> dict[str, str]:
    """Return every page of the site, by its path in it."""
    written = {path.name: path.read_text("utf-8") for path in sorted(HERE.glob("*.md"))}
    security = (TOP / "SECURITY.md").read_text("utf-8")
    return {
        **{name: _LINK.sub(_link_to_page, text) for name, text in written.items()},
        "security.md": security.replace("](docs/", "]("),
        "commands.md": render_commands(),
        "clients.md": render_clients(),
        "credentials.md": render_credentials(),
        "next-steps.md": render_next_steps(),
        "lists.md": render_lists(),
        "worth.md": WORTH.read_text("utf-8"),
        **render_rules(),
        **render_checks(),
    }


def _link_to_page(link: re.Match[str]) -> str:
    return f"]({MADE_OF.get(link[1], link[1])}"


def main(folder: Path) -> None:
    """Write the site's pages and pictures into a folder, and renew what the demo prints."""
    for path, text in render_demo().items():
        path.write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in render_site().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for picture in (*HERE.glob("*.svg"), *HERE.glob("*.webp")):
        shutil.copy(picture, folder)


if __name__ == "__main__":
    click.command()(click.argument("folder", type=click.Path(path_type=Path))(main))()
