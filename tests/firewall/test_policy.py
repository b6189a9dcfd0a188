"""From a finding to an action: the first entry decides, the strictest layer wins."""

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.firewall.finding import Action, Confidence, Severity
from pipeguard.firewall.policy import (
    OWN_GUARD,
    ActionEntry,
    Exempt,
    Layer,
    Mode,
    Policy,
    PolicyTarget,
    Selector,
    default_action,
)
from pipeguard.firewall.protocol.places import Surface
from tests.fuzz.budget import tried

RULES = ["secrets.github-token", "secrets.jwt", "injection.override", "protocol.view-limit"]
PLACES = ["call.arguments", "result.text", "tool.description"]
TOOLS = ["echo", "read_file", "*"]
severities, confidences = st.sampled_from(Severity), st.sampled_from(Confidence)
subjects = st.builds(
    PolicyTarget,
    st.sampled_from(RULES),
    severities,
    confidences,
    st.sampled_from(PLACES),
    st.sampled_from(["demo", "files"]),
    st.one_of(st.none(), st.sampled_from(TOOLS)),
)
globs = st.sampled_from(["*", "secrets.*", "*.override", "call.*", "tool.*", "demo", "e*", "[ab]*"])
selectors = st.builds(
    Selector,
    globs,
    globs,
    globs,
    globs,
    st.one_of(st.none(), severities),
    st.one_of(st.none(), confidences),
)
layers = st.builds(
    Layer,
    actions=st.lists(st.builds(ActionEntry, selectors, st.sampled_from(Action)), max_size=3).map(
        tuple
    ),
    exceptions=st.lists(
        st.builds(Exempt, selectors, st.just("why"), st.one_of(st.none(), st.floats(0, 100))),
        max_size=2,
    ).map(tuple),
    tools_allow=st.lists(globs, max_size=2).map(tuple),
    tools_block=st.lists(globs, max_size=2).map(tuple),
    defaults=st.booleans(),
)
policies = st.lists(layers, min_size=1, max_size=3).map(lambda them: Policy(layers=tuple(them)))
times = st.floats(0, 200)


def subject(rule: str = "secrets.jwt", tool: str | None = "echo") -> PolicyTarget:
    return PolicyTarget(rule, Severity.HIGH, Confidence.HIGH, "call.arguments", "demo", tool)


@tried(150)
@given(policies, subjects, times)
def test_the_strictest_layer_decides(policy: Policy, one: PolicyTarget, now: float) -> None:
    actions = [layer.decide(one, now)[0] for layer in policy.layers]
    assert policy.action(one, now) is max(actions)


@tried(100)
@given(policies, layers, subjects, times)
def test_a_further_layer_only_tightens(
    policy: Policy, layer: Layer, one: PolicyTarget, now: float
) -> None:
    tightened = Policy(layers=(*policy.layers, layer))
    assert tightened.action(one, now) >= policy.action(one, now)
    for tool in TOOLS:
        assert not tightened.calls(tool) or policy.calls(tool)


@tried(100)
@given(policies, subjects, times)
def test_to_observe_stops_nothing(policy: Policy, one: PolicyTarget, now: float) -> None:
    observed = Policy(mode=Mode.OBSERVE, layers=policy.layers).action(one, now)
    assert observed is min(Action.WARN, policy.action(one, now))


@tried(100)
@given(selectors, subjects)
def test_a_selector_fits_where_every_part_does(selector: Selector, one: PolicyTarget) -> None:
    pairs = [
        (one.rule, selector.rule),
        (one.place, selector.place),
        (one.server, selector.server),
        (one.tool or "", selector.tool),
    ]
    fits = all(fnmatchcase(text, glob) for text, glob in pairs)
    fits = fits and (selector.severity is None or one.severity >= selector.severity)
    fits = fits and (selector.confidence is None or one.confidence >= selector.confidence)
    fits = fits and (not selector.content or one.content == selector.content)
    if selector.path or selector.host:  # the call names such files and hosts, and no others
        names = [(one.paths, selector.path), (one.hosts, selector.host)]
        fits = fits and all(bool(named) is bool(glob) for named, glob in names)
        fits = fits and all(fnmatchcase(name, glob) for named, glob in names for name in named)
    assert selector.fits(one) == fits


@tried(60)
@given(severities, confidences)
def test_by_default_what_is_bad_and_certain_is_blocked(
    severity: Severity, confidence: Confidence
) -> None:
    one = PolicyTarget("a.b", severity, confidence, "call.arguments", "demo", None)
    certain = severity in (Severity.HIGH, Severity.CRITICAL) and confidence is Confidence.HIGH
    assert default_action(one) is (Action.BLOCK if certain else Action.WARN)
    assert Policy().action(one, 0.0) is default_action(one)
    is_asked = certain and severity is Severity.HIGH
    for rule in ("flows.ordered", "flows.secret-out", "commands.scheduled-job"):
        wanted = Policy().action(one._replace(rule=rule, is_call=True), 0.0)
        assert wanted is (Action.ASK if is_asked else default_action(one))


@tried(60)
@given(severities, confidences)
def test_words_that_are_hardly_orders_are_noted(severity: Severity, confidence: Confidence) -> None:
    def told(rule: str, surface: Surface) -> Action:
        return default_action(PolicyTarget(rule, severity, confidence, "", "demo", None, surface))

    spoken = told("injection.override-mentioned", Surface.TO_CLIENT)
    assert (spoken is Action.ALLOW) == (confidence is Confidence.LOW)
    assert told("injection.override-mentioned", Surface.DEFINITIONS) is spoken
    assert told("secrets.jwt", Surface.TO_CLIENT) is not Action.ALLOW  # it may be one all the same
    assert told("commands.sql-drop", Surface.TO_SERVER) is not Action.ALLOW


def test_nothing_opens_what_changes_pipeguard_itself() -> None:
    one = PolicyTarget(OWN_GUARD, Severity.LOW, Confidence.LOW, "call.arguments", "demo", "echo")
    opens = Layer((ActionEntry(Selector(), Action.ALLOW),), (Exempt(Selector(), "why"),))
    policy = Policy(layers=(opens,))
    assert policy.action(one, 0.0) is Action.BLOCK
    assert not policy.exempts(one, 0.0)
    assert policy._replace(mode=Mode.OBSERVE).action(one, 0.0) is Action.WARN


def test_an_exception_ends_at_its_time() -> None:
    exempt = Exempt(Selector(rule="secrets.jwt"), "a test token", until=10.0)
    policy = Policy(layers=(Layer(exceptions=(exempt,)),))
    assert policy.action(subject(), 9.9) is Action.ALLOW
    assert policy.action(subject(), 10.0) is Action.BLOCK
    assert policy.action(subject("secrets.other"), 0.0) is Action.BLOCK


def test_the_first_entry_that_fits_decides() -> None:
    entries = (
        ActionEntry(Selector(rule="secrets.*", tool="echo"), Action.REDACT),
        ActionEntry(Selector(rule="secrets.*"), Action.WARN),
    )
    policy = Policy(layers=(Layer(actions=entries),))
    assert policy.action(subject(), 0.0) is Action.REDACT
    assert policy.action(subject(tool="other"), 0.0) is Action.WARN
    assert policy.action(subject(tool=None), 0.0) is Action.WARN
    assert policy.action(subject("commands.x"), 0.0) is Action.BLOCK


def test_a_layer_without_defaults_asks_for_nothing() -> None:
    assert Layer(defaults=False).decide(subject(), 0.0) == (Action.ALLOW, "no entry")


def test_a_server_that_launches_nothing_known_is_stopped_too() -> None:
    policy = Policy(layers=(Layer(servers_block=("*",)),))
    assert policy.explain_stop(()) == "code may not run: the policy does not allow it"
    assert Policy(layers=(Layer(servers_allow=("npm *",)),)).explain_stop(("npm x", "npm y")) == ""
    assert Policy(layers=(Layer(), Layer(defaults=False))).action(subject(), 0.0) is Action.BLOCK


def test_tools_are_allowed_and_blocked_by_globs() -> None:
    layer = Layer(tools_allow=("read_*", "list"), tools_block=("read_secret",))
    called = {tool for tool in ("read_file", "read_secret", "list", "write") if layer.calls(tool)}
    assert called == {"read_file", "list"}
    assert Layer().calls("anything")
