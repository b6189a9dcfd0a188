"""Checks what is read of a skill's files, and of the pages of apps, against what is pinned.

A file of a skill has the digest of the approved manifest. A file of a dynamic skill, and a page,
are pinned when they are first read, without their bytes. Sources: SEP-2640, "Integrity and
Verification"; MCP Apps 2026-01-26, "UI Resource Format".
"""

from __future__ import annotations

from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import Action, Findings, greatest
from pipeguard.firewall.pins.fingerprint import CONTENT, describe_content, measure_content
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    as_list,
    as_object,
    read_object,
    walk_values,
    with_strings,
)
from pipeguard.firewall.protocol.pending import PendingRequest
from pipeguard.firewall.protocol.places import GET_SKILL, get_value
from pipeguard.firewall.protocol.spelling import check_spelling, spellings
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.protocol.uris import normal
from pipeguard.firewall.session.admission import NOT_OFFERED, find_manifests, is_listed
from pipeguard.firewall.session.case import Case
from pipeguard.firewall.session.definitions import (
    DefinitionScope,
    ReviewedDefinition,
    ReviewedResult,
    review_definition,
    review_definitions,
)
from pipeguard.firewall.session.guard import Guard

READ = "resources/read"
EMBEDDING = frozenset({READ, "tools/call", "tasks/get", "tasks/result", "prompts/get"})
WRONG_DIGEST = "trust.wrong-digest"
_MEMBERS = spellings(("uri", "text", "blob", "resources", "_meta"))


def review(case: Case, request: PendingRequest, result: JsonObject) -> ReviewedResult:
    """Review the definitions in an answer, or the contents of resources.

    Args:
        case: of the answer.
        request: that it answers.
        result: its result.

    Raises:
        Refusal: it could not be judged.
    """
    method = request.method
    scope = DefinitionScope(
        case.guard, method, (), CONTENT, "uri", case.now, case.budgets or Budgets()
    )
    if method == "resources/directory/read":
        return _review_directory(scope, result)
    # Most results of calls embed no resource; letters of the word may be escaped.
    is_other = method != "tools/call"
    if method in EMBEDDING and (is_other or b'resource"' in case.frame or b"\\u00" in case.frame):
        return _review_contents(scope, request.uri, result)
    if method != GET_SKILL:
        return review_definitions(scope, result)
    check_spelling(result, spellings(("skill",)), "the result")
    listed: JsonObject = {**result, "skills": [result.get("skill")]}
    reviewed = review_definitions(scope._replace(method="skills/list"), listed)
    if reviewed.result["skills"] == listed["skills"]:
        return reviewed._replace(result=result)
    return reviewed._replace(findings=_stop(reviewed.findings), stopped=True)


def _stop(findings: Findings) -> Findings:
    """The findings for which no definition is shown, so that they stop the answer."""
    return tuple(finding._replace(action=Action.BLOCK) for finding in findings)


def _review_directory(scope: DefinitionScope, result: JsonObject) -> ReviewedResult:
    """Leave out of a folder what no approved manifest of its skill lists."""
    items = as_list(result.get("resources"))
    for each in (result, *map(as_object, items)):
        check_spelling(each, _MEMBERS, "the result")
    shown = [item for item in items if is_listed(scope.guard, str(as_object(item).get("uri")))]
    if len(shown) == len(items):
        return ReviewedResult(result, (), ())
    note = "a file that no approved skill lists was left out of its folder"
    finding = scope.finding(NOT_OFFERED, note, None, Action.WARN)
    if not scope.guard.policy.observes:
        result = {**result, "resources": shown}
    return ReviewedResult(result, (finding,), ())


# --- bytes ------------------------------------------------------------------------------


def _review_contents(scope: DefinitionScope, requested: str, result: JsonObject) -> ReviewedResult:
    """Review the contents of resources, wherever they are in a result.

    Args:
        scope: of contents.
        requested: the address that the client read: it takes any content for this one's; or empty.
        result: the result.
    """
    reviewed: list[ReviewedDefinition] = []
    copied = as_object(with_strings(result, str))  # in which a page gets a CSP
    for path, item in walk_values(copied, ("result",)):
        if type(item) is not dict or {"text", "blob"}.isdisjoint(map(str.casefold, item)):
            continue
        sent = {**item}
        uris = (str(item[key]) for key in sent if key.casefold() == "uri")
        for name in dict.fromkeys(map(normal, (requested, *uris))):
            if is_page := name.startswith("ui:"):
                _fill_csp(scope.guard, name, item)
            if is_page or scope.guard.pins.names.skills_around(name):
                at = scope._replace(path=path)
                reviewed.append(_review_content(at, name, sent, {**item, "uri": name}))
    if not reviewed:
        return ReviewedResult(result, (), ())
    findings = tuple(finding for each in reviewed for finding in each.findings)
    pins = tuple(each.pin for each in reviewed if each.pin is not None)
    stops = greatest(findings) is Action.BLOCK
    shown = result if copied == result else copied
    return ReviewedResult(shown, findings, pins, stops, keeps_bytes=True)


def _review_content(
    scope: DefinitionScope, name: str, sent: JsonObject, content: JsonObject
) -> ReviewedDefinition:
    """Compare a content with the manifest of its skill, or with its own pin.

    Args:
        scope: of the content.
        name: its address in normal form.
        sent: as it came: this is pinned.
        content: as it is shown, with a CSP.
    """
    check_spelling(sent, _MEMBERS, "a content")
    manifests = find_manifests(scope.guard, name)
    listed = [each.digests.get(name, "") for each in manifests if each is not None]
    if not listed and (manifests or name.startswith("ui:")):
        if scope.method == READ or scope.guard.pin(CONTENT, name) is not None:
            pinned = describe_content({**sent, "uri": name})
            reviewed = review_definition(scope, name, content, pinned=pinned)
            if reviewed.shown is content:
                return reviewed
            return reviewed._replace(findings=_stop(reviewed.findings))
    elif measure_content(sent) not in listed:
        note = f"{scope.describe(name)} is not as an approved skill of the server lists it"
        finding = scope.finding(WRONG_DIGEST, note, scope.show_name(name), Action.BLOCK)
        return ReviewedDefinition(content, (finding,))
    return ReviewedDefinition(content, scope.scan(content, name))


def _fill_csp(guard: Guard, uri: str, page: JsonObject) -> None:
    """Give a page without a CSP that of its listing, or that of its own origin only.

    As clients do, it takes the listing's only if the page says nothing of its own.
    """
    meta = read_object(page, "_meta")
    own = read_object(meta, "ui")
    pin = guard.pin("resource", guard.pins.names.first("resource", uri) or uri)
    if not own and pin and pin.approved_definition:
        listing = parse_json(pin.approved_definition.encode())
        own = as_object(get_value(listing, ("_meta", "ui")))
    page["_meta"] = {**meta, "ui": {**own, "csp": read_object(own, "csp")}}
