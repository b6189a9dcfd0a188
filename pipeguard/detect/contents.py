"""Reads the content of a skill's file: a text for a model, or a script.

A text is judged as definitions are, but that it gives orders is its purpose. A script is judged by
what it runs, as if a call ran it. YAML and JSON may be either: manifests, workflows and hooks have
commands.
"""

from pipeguard.detect.findings import read_value
from pipeguard.detect.knowledge import Knowledge
from pipeguard.firewall.finding import Action, Finding, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.pins.fingerprint import read_bytes
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.protocol.uris import normal
from pipeguard.firewall.session.guard import Context

_BYTES = frozenset({"text", "blob"})
_WORDS = lazy_regex(r"[^\x00-\x08\x0e-\x1f\x7f\ufffd]{8,}")  # in a binary, as for `strings`
_SHELL = lazy_regex(r"(?i).*(?:\.(?:sh|bash|zsh|ps1|bat|cmd)|/(?:Make|Just)file)")
_MANIFEST = lazy_regex(r"(?i).*\.(?:ya?ml|json)")
_PROGRAM = lazy_regex(r"(?i).*\.(?:py|[cm]?[jt]s|rb|pl|php|lua)")
_OVERRIDE = "poisoning.override-in-definition"  # manuals quote it
# One expression that decodes and runs: `exec(zlib.decompress(base64.b64decode(`.
_RUNS_DECODED = lazy_regex(
    r"\b(?:exec|eval|Function)\((?:[\w.]+\()*[\w.]*(?:decod|decomp|atob|hex)"
)
# Honest scripts that set up a machine do this, too.
_TOLD = lazy_regex(r"commands\.(?:persistence|scheduled-job|destroy-tree|client-servers|own-guard)")


def read_content(knowledge: Knowledge, context: Context, content: JsonObject) -> list[Finding]:
    """Find threats in a file of a skill or a page, besides those of any result.

    Args:
        knowledge: of the server.
        context: where the content is.
        content: of a resource; only its name is read if it has no bytes.

    Raises:
        Refusal: it could not be judged.
    """
    about: JsonObject = {key: item for key, item in content.items() if key not in _BYTES}
    findings = read_value(knowledge, context, Surface.DEFINITIONS, about)
    if about == content:
        return findings
    name = str(content.get("uri"))
    if normal(name).startswith("ui:"):
        from pipeguard.detect.pages import read_page  # few servers have any

        return findings + read_page(knowledge, context, content)
    text = read_bytes(content).decode("utf-8", "replace")
    key = "code" if _PROGRAM.fullmatch(name) else "command"
    is_script = key == "code" or _SHELL.fullmatch(name) or text.startswith("#!")
    if is_script or _MANIFEST.fullmatch(name):
        findings += _read_script(knowledge, context, key, text)
    if is_script:
        return findings
    if 4 * (text.count("\ufffd") + text.count("\0")) > len(text):
        text = "\n".join(_WORDS.findall(text))
    # It is a text for a model, and judged as a result is; orders are its purpose.
    found = read_value(
        knowledge, context._replace(tool=None), Surface.DEFINITIONS, {"uri": name, "text": text}
    )
    return findings + [
        finding
        if finding.severity is Severity.CRITICAL and finding.rule != _OVERRIDE
        else _only_told(finding)
        for finding in found
    ]


def _read_script(knowledge: Knowledge, context: Context, key: str, text: str) -> list[Finding]:
    """Find threats in a script, by the commands that it runs and the files that it opens.

    A finding about a whole program is wrong for one honest script in twenty, unless the program
    also names files of secrets, or runs what it decodes in one expression.
    """
    call: JsonObject = {"params": {"name": "run", "arguments": {key: text}}}
    as_call = context._replace(part="params", method="tools/call", tool="run", prefix=())
    found = read_value(knowledge, as_call, Surface.TO_SERVER, call)
    is_sure = _RUNS_DECODED.search(text) or any(f.rule.startswith("paths.") for f in found)
    return [
        _only_told(moved) if _TOLD.fullmatch(moved.rule) else moved
        for moved in (
            finding._replace(place=context.place(("text",)), pointer="", start=0, end=0, tool=None)
            for finding in found
            if finding.rule.startswith("commands.")
            if is_sure or not finding.excerpt.startswith("CODE ")
        )
    ]


def _only_told(finding: Finding) -> Finding:
    return finding._replace(action=min(finding.action, Action.WARN))
