"""Draws the demo's screen, as the live view shows it, from the state that a finished `make demo` left.

    python docs/images/make_demo_picture.py [STATE] [--out docs/images/demo.svg]

Every figure, curve, decision and answer is read from the state; nothing is made up. The last question's three answers are those
that the gateway recorded while the run was watched, beside the teacher's in the example.
"""

# ruff: noqa: INP001, T201 - a script that stands alone and speaks to a person

import argparse
import io
import sys
from pathlib import Path

from rich.console import Console, Group
from rich.text import Text

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

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "examples" / "support"
NAMESPACE, DESK, BASE = "default", "support-desk", "tiny"
WIDTH = 132


class Screen(LiveView):
    """The live view on a recording console, with the answers that were recorded in place of new ones."""

    def __init__(self, log: TopicLog, plan: object, console: Console, heading: str) -> None:
        super().__init__(log, plan, heading=lambda: heading)  # type: ignore[arg-type]
        self._console = console
        self._log = log

    def picture(self) -> Group:
        self._progress.read()
        return Group(self._draw(), recorded_answers(self._log))


def recorded_answers(log: TopicLog) -> Text:
    """The last question of the stream that base and served version were both asked, with the teacher's answer."""
    if topic_length(log, topics.answers(NAMESPACE)) == 0:
        return Text("")
    by_question: dict[str, dict[str, Answer]] = {}
    for record in read_all(log, topics.answers(NAMESPACE)):
        answer = codec.decode(record, Answer)
        by_question.setdefault(answer.messages[-1].content, {})[answer.model] = answer
    taught: dict[str, str] = {}
    for record in read_all(log, topics.examples(NAMESPACE, DESK)):
        if record.kind == codec.KINDS[Example]:
            example = codec.decode(record, Example)
            taught[example.messages[-1].content] = example.answer
    both = [(question, answers) for question, answers in by_question.items() if {DESK, BASE} <= set(answers)]
    known = [(question, answers) for question, answers in both if question in taught]
    return _three(*(known or both)[-1], taught) if both else Text("")


def _three(question: str, answers: dict[str, Answer], taught: dict[str, str]) -> Text:
    """A question that was nobody's in the stream has no teacher's answer."""
    base, served = (" ".join(answers[name].text.split()) for name in (BASE, DESK))
    teacher = taught.get(question)
    text = Text(f"  “{question}”\n", style="italic")
    text.append(f"      base: {base[:100]}\n", style="dim")
    text.append(f"    served: {served[:100]}\n", style="green" if teacher in (None, served) else "red")
    text.append(f"   teacher: {teacher[:100]}" if teacher else "")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state", type=Path, nargs="?", default=SUPPORT / ".demo" / "state")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "demo.svg")
    options = parser.parse_args()
    if not (options.state / "log.sqlite").is_file():
        print(f"{options.state} holds no finished demo; run `make demo` first", file=sys.stderr)
        return 4
    log = open_log(options.state)
    plan = topology(load([SUPPORT / "headrace.yaml"]).resources, Settings(state=options.state))
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    heading = "The support desk: 3,403 customer questions; the desk's routing policy changed half-way."
    console.print(Screen(log, plan, console, heading).picture())
    log.close()
    options.out.write_text(console.export_svg(title="make demo"), "utf-8")
    print(f"{options.out} is drawn from {options.state}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
