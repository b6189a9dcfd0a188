"""Checks a policy's entries against the existing rules.

An action for a rule that does not exist is wrong: with a typing error, `block` would block nothing.
An exception for one lets nothing through, like one that has ended, and is only noted: an update may
have renamed the rule, and no server should fail to start for that.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pipeguard.config import effective_policy
from pipeguard.config.effective_policy import combine_sources, require_valid
from pipeguard.config.policy_file import PolicyScope
from pipeguard.unicode.display import suggestion

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipeguard.config.options import WrapOptions
    from pipeguard.config.policy_file import PolicyFile
    from pipeguard.config.strict_yaml import YamlEntry
    from pipeguard.errors import PolicyError
    from pipeguard.firewall.policy import Policy


def load_wrap_policy(options: WrapOptions) -> Policy:
    """The policy for one run of `wrap`, whose options override the user's file.

    Raises:
        PolicyError: an option or a file is invalid, or an action is for no rule.
        RuleError: a pack is wrong.
    """
    return combine_sources(require_valid(read_sources(options)))


def read_sources(
    options: WrapOptions, scopes: Collection[PolicyScope] = tuple(PolicyScope)
) -> dict[PolicyScope, PolicyFile | PolicyError]:
    """The policy of each of some sources, from `effective_policy.read_sources`, with checked rules.

    Raises:
        PolicyError: an option is invalid.
        RuleError: a pack is wrong.
    """
    return effective_policy.read_sources(options, scopes, check_actions)


def check_actions(root: YamlEntry) -> None:
    """Note actions for a rule or a pack that does not exist."""
    keys = root.known_fields(("actions",))
    entries = [item for item in keys["actions"].items() if item.is_mapping] if keys else []
    fields = [entry.known_fields(("rule", "pack")) for entry in entries]
    if not any(fields):
        return
    from pipeguard.rulebook.cache import rule_ids
    from pipeguard.rulebook.rule_texts import code_rules

    ids = rule_ids()
    for field in fields:
        if "rule" in field and (missing := describe_missing(field["rule"].text() or "*", ids)):
            field["rule"].wrong(missing)
        if "pack" in field and (pack := field["pack"].text()) is not None:
            packs = dict.fromkeys(id_.partition(".")[0] for id_ in (*ids, *code_rules()))
            if not any(fnmatchcase(name, pack) for name in packs):
                field["pack"].wrong(f"no pack is called `{pack}`.{suggestion(pack, packs)}")


def describe_missing(glob: str, ids: Collection[str]) -> str:
    """Report that no rule matches a glob, and suggest one; empty if one matches.

    Args:
        glob: of an entry.
        ids: of all rules of packs.
    """
    from pipeguard.rulebook.rule_texts import code_rules

    ids = [*ids, *code_rules()]
    if any(fnmatchcase(id_, glob) for id_ in ids):
        return ""
    if glob.partition(".")[0] == "tools":
        return f"no rule matches `{glob}`. For each call of a tool: `tools: {{ask: [NAME]}}`."
    whole = {f"{id_.partition('.')[0]}.*" for id_ in ids} if "*" in glob else set[str]()
    near = suggestion(glob, [*ids, *sorted(whole)])
    return f"no rule matches `{glob}`.{near or ' List them:  pipeguard rules list'}"
