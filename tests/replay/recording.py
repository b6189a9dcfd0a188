"""Records made of real Sessions, and their replay."""

from pathlib import Path

from pipeguard import Engines, Frame, Session, Verdict
from pipeguard.detect.detector import DetectionSource, use_flows
from pipeguard.detect.flows.ledger import Flows
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.lifecycle import WaitingRoom
from pipeguard.firewall.session.session import Event
from pipeguard.replay.comparison import KINDS, compare
from pipeguard.state.record.folder import RecordFolder
from pipeguard.state.record.lines import Fields
from pipeguard.state.record.tape import RecordTape
from pipeguard.transports.pump import take_event
from tests.firewall.session import talk
from tests.fuzz.rulebook import engines

KEY = b"k" * 16


class Recording:
    """A client session that is recorded, with a server or several.

    Args:
        folder: of the record.
        policy: by which its servers are judged.
        pins: of each server.
        rules: that judge.
    """

    def __init__(
        self, folder: Path, policy: Policy | None = None, *pins: Pin, rules: Engines | None = None
    ) -> None:
        self.folder, self.policy, self.rules = folder, policy or Policy(), rules or engines()
        self.pins = {(pin.kind, pin.name): pin for pin in pins}
        folder.mkdir(exist_ok=True)
        self.flows = Flows()
        state = self.rules.to_server.key
        self.tape = RecordTape(RecordFolder(str(folder)), "demo", "RUN", state, lambda _: None)
        self.tape._began = self.now = 0.0
        self.sessions: dict[str, Session] = {}

    def session(self, name: str = "demo") -> Session:
        """The session with a server."""
        if name not in self.sessions:
            source = DetectionSource(lambda: self.rules, KEY)
            guard = Guard(name, source, self.policy, self.pins)
            guard.contents_key = b"c" * 16
            use_flows(guard, self.flows)
            run = f"RUN{len(self.sessions)}"
            session = Session(guard, run, "2025-06-18", WaitingRoom())
            session.tape = self.tape
            self.sessions[name] = session
        return self.sessions[name]

    def join(self, session: Session) -> None:
        """Record a session."""
        session.tape = self.tape

    def take(self, event: Event, name: str = "demo") -> Verdict:
        """Let a session take an event."""
        return take_event(self.session(name), event)

    def client(self, frame: bytes, name: str = "demo") -> Verdict:
        """Send a frame of the client."""
        self.now += 1.0
        return self.take(Frame(talk.TO_SERVER, frame, self.now), name)

    def server(self, frame: bytes, name: str = "demo") -> Verdict:
        """Send a frame of a server."""
        self.now += 1.0
        return self.take(Frame(talk.TO_CLIENT, frame, self.now), name)

    def end(self) -> Path:
        """End the record; return its file."""
        self.tape.end()
        self.tape.write()
        (file,) = self.folder.glob("*.jsonl")
        return file


def replay(file: Path, policy: Policy | None = None, rules: Engines | None = None) -> Fields:
    """Replay a record."""
    return compare(rules or engines(), [file], policy)


def list_differences(report: Fields) -> dict[str, list[str]]:
    """The differences by kind, each as `event rule before after`."""
    return {
        kind: ["{event} {rule} {before} {after}".format_map(each) for each in report[kind]]
        for kind in KINDS
        if report[kind]
    }
