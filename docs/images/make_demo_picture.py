"""Draws the demo's screen, as the live view shows it, from the state that a finished `make demo` left.

    python docs/images/make_demo_picture.py [STATE] [--out docs/images/demo.svg]

Every figure, curve, decision and answer is read from the state; nothing is made up. The question is the last one of the stream
that the screen asked while it was watched, with the answers that the gateway recorded and the teacher's in the example.
"""

# ruff: noqa: INP001, SLF001, T201 - a script that stands alone, fills in the screen's own fields and speaks to a person

import argparse
import io
import sys
from pathlib import Path

from rich.console import Console, Group

from headrace.control.summary import read_all, topic_length
from headrace.doors.cli.live_view import LiveView
from headrace.events import codec, topics
from headrace.events.answer import Answer
from headrace.events.example import Example
from headrace.foundation.settings import Settings
from headrace.kinds.catalog import load
from headrace.kinds.topology import topology
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.topology import Topology
from headrace.testing.resource_ids import finetuner_id

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE, DESK, BASE = "default", "support-desk", "tiny"
WIDTH = 132


class Screen(LiveView):
    """The live view of a finished run, drawn once."""

    def __init__(self, log: TopicLog, plan: Topology, console: Console, heading: str) -> None:
        super().__init__(log, plan, heading=lambda: heading)
        self._console, self._log = console, log

    def picture(self) -> Group:
        self._progress.read()
        self._asked._shown = last_asked(self._log)
        return self._draw()


def last_asked(log: TopicLog) -> tuple[str, str, str, str] | None:
    """The last question of the stream that both models were asked: question, base's, served version's and teacher's answer."""
    taught: dict[str, str] = {}
    for record in read_all(log, topics.examples(finetuner_id(DESK, NAMESPACE))):
        if record.kind == codec.KINDS[Example]:
            example = codec.decode(record, Example)
            taught[example.messages[-1].content] = example.answer
    answers: dict[str, dict[str, str]] = {}
    if topic_length(log, topics.answers(NAMESPACE)):
        for record in read_all(log, topics.answers(NAMESPACE)):
            answer = codec.decode(record, Answer)
            answers.setdefault(answer.messages[-1].content, {})[answer.model] = " ".join(answer.text.split())
    for question, given in reversed(answers.items()):
        if question in taught and {BASE, DESK} <= set(given):
            return question, given[BASE], given[DESK], taught[question]
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    state = ROOT / "examples" / "support" / ".demo" / "state"
    parser.add_argument("state", type=Path, nargs="?", default=state, help="the demo's state directory")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "demo.svg")
    options = parser.parse_args()
    if not (options.state / "log.sqlite").is_file():
        print(f"{options.state} holds no finished demo; run `make demo` first", file=sys.stderr)
        return 4
    declared = options.state.resolve().parents[1] / "headrace.yaml"
    log = open_log(options.state)
    plan = topology(load([declared]).resources, Settings(state=options.state))
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    heading = "A support desk: 3,403 customer questions. Half-way the desk's policy changed."
    console.print(Screen(log, plan, console, heading).picture())
    log.close()
    options.out.write_text(console.export_svg(title="make demo"), "utf-8")
    print(f"{options.out} is drawn from {options.state}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
