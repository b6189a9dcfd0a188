"""Actions for rules without an entry in the policy."""

from pipeguard.detect.rules.rule import Leaving, Rule
from pipeguard.firewall.finding import Action, Confidence
from pipeguard.firewall.policy import PolicyTarget, default_action
from pipeguard.firewall.protocol.places import Surface

_RAISED = Leaving.RAISE, Leaving.ONLY


def usual_action(rule: Rule) -> Action:
    """The action for an ordinary match if the policy has no entry for the rule."""
    is_cuttable = bool(rule.model) and Surface.TO_CLIENT in rule.surfaces
    target = PolicyTarget(rule.id, rule.severity, rule.confidence, "", "", None)
    return default_action(target._replace(is_cuttable=is_cuttable))


def find_sure_action(rule: Rule) -> Action:
    """The action for a match once one of `list_raises` raises its confidence."""
    return usual_action(rule._replace(confidence=Confidence.HIGH) if list_raises(rule) else rule)


def list_raises(rule: Rule) -> list[str]:
    """List the conditions that raise the confidence of a match."""
    is_one_step = rule.confidence is Confidence.MEDIUM
    return [
        *(["a check of the match holds"] if rule.check else []),
        *(["a message has two different ones"] if is_one_step and rule.several else []),
        *(["a call requests it from another host"] if rule.leaving in _RAISED else []),
    ]
