"""The live view of a run: flow, learning and served versions. Without a terminal, a line every few seconds."""

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from headrace.control.progress import FinetunerProgress, Progress
from headrace.control.run import View
from headrace.control.supervisor import RoleProcess
from headrace.doors.cli.asked import ThreeAnswers
from headrace.doors.cli.chart import line_chart
from headrace.events import topics
from headrace.events.decision import Decision
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.log.topic_log import TopicLog
from headrace.stages.serve.options import DoorOptions
from headrace.stages.topology import Topology

STYLES = {"majority": "yellow", "served": "green", "learner": "cyan"}
REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0
DECISIONS_SHOWN = 6
_WORDS = {
    "cut": "candidate cut", "promoted": "promoted", "rejected": "not promoted", "rolled_back": "rolled back",
    "confirmed": "confirmed", "drift": "drift seen", "documents": "documents changed",
    "anchors": "anchors reasked", "awaiting_approval": "awaits approval", "declaration": "options declared",
}  # fmt: skip


def open_view(log: TopicLog, topology: Topology, doors: DoorOptions, *, live: bool) -> View:
    """The live view on a terminal; elsewhere progress lines on stderr."""
    return LiveView(log, topology, doors) if live else LineView(log, topology)


def told(decisions: list[Decision]) -> list[Decision]:
    """The decisions to show: the newest of each kind, in order; promotions and rollbacks take precedence over candidates."""
    fate = [one for one in decisions if one.kind not in ("cut", "rejected")][-DECISIONS_SHOWN:]
    tries = [one for one in decisions if one.kind in ("cut", "rejected")][-2:]
    return sorted([*fate, *tries], key=lambda one: one.last_offset)


class LineView:
    """One line every few seconds on stderr."""

    def __init__(self, log: TopicLog, topology: Topology, clock: Clock = SYSTEM_CLOCK) -> None:
        self._progress = Progress(log, topology)
        self._clock, self._last = clock, clock.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._print()

    def refresh(self, died: list[RoleProcess]) -> None:
        for role in died:
            sys.stderr.write(f"{role.order.process} exited with code {role.last_exit}; restarting\n")
        if self._clock.monotonic() - self._last >= LINE_SECONDS:
            self._last = self._clock.monotonic()
            self._print()

    def _print(self) -> None:
        self._progress.read()
        for one in self._progress.finetuners:
            resource = str(one.id)
            learned = self._progress.figure(resource, "train", "examples") or 0
            means = " ".join(f"{name} {values[-1]:.2f}" for name, values in one.curves.values.items() if values)
            served = self._progress.figure(resource, "train", "served") or "v0"
            lag = self._progress.lag(one.id.namespace)
            sys.stderr.write(
                f"{one.id.short_name}: {learned} of {one.examples} examples learned, lag {lag}, serves {served}. {means}\n"
            )
        sys.stderr.flush()


class LiveView:
    """A screen that is redrawn twice a second."""

    def __init__(
        self,
        log: TopicLog,
        topology: Topology,
        doors: DoorOptions,
        clock: Clock = SYSTEM_CLOCK,
        *,
        heading: Callable[[], str] = lambda: "",
    ) -> None:
        """`heading`: the top line, such as the current step of a demo."""
        self._progress = Progress(log, topology)
        self._topology, self._clock, self._heading = topology, clock, heading
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=False)
        self._drawn = -1.0
        self._died: list[str] = []
        self._asked = ThreeAnswers(topology, doors)
        self._asking: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asked.stop()
        self._progress.read()
        self._live.update(self._draw(), refresh=True)
        self._live.__exit__(kind, error, trace)

    def refresh(self, died: list[RoleProcess]) -> None:
        self._died += [f"{role.order.process} exited with code {role.last_exit}; restarting" for role in died]
        if self._clock.monotonic() - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = self._clock.monotonic()
        self._progress.read()
        if self._progress.finetuners:
            first = self._progress.finetuners[0]
            self._asked.ask(first.id, first.last_messages, first.last_answer)
        self._live.update(self._draw())

    def _draw(self) -> Group:
        parts: list[Panel | Text] = []
        if heading := self._heading():
            parts.append(Text(heading, style="bold"))
        parts += [self._finetuner(one) for one in self._progress.finetuners]
        if self._died:
            parts.append(Text("\n".join(self._died[-3:]), style="red"))
        troubles = [
            f"{status.resource} {condition.type}: {condition.reason} {condition.message}"
            for status in self._progress.statuses
            for condition in status.conditions
            if condition.status == "False" and condition.reason not in ("Finished", "Waiting", "Starting")
        ]
        if troubles:
            parts.append(Text("\n".join(troubles[:3]), style="red"))
        return Group(*parts)

    def _finetuner(self, one: FinetunerProgress) -> Panel:
        width = max(30, min(self._console.width - 50, 90))
        chart = line_chart(one.curves.values, STYLES, width=width, height=11)
        legend = Text("    ")
        for name in ("learner", "served", "majority"):
            values = one.curves.values[name]
            legend.append(f"━ {name} {values[-1]:.2f}   " if values else f"━ {name}   ", style=STYLES[name])
        columns = Table.grid(padding=(0, 2))
        columns.add_row(
            Group(Text("exact match before learning, last 200 examples", style="dim"), chart, legend), self._flow(one)
        )
        return Panel(Group(columns, self._decisions(one), self._asked.draw()), title=one.id.short_name)

    def _flow(self, one: FinetunerProgress) -> Table:
        resource, namespace = str(one.id), one.id.namespace
        ends, figure = self._progress.ends, self._progress.figure
        train = self._progress.lags.get(f"train/{one.id.path_name}", 0)
        usd = figure(resource, "label", "usd") or 0.0
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", style="bold")
        table.add_column()
        for value, what in (
            (self._progress.events(namespace), "events"),
            (ends.get(topics.rows(one.id), 0), "rows"),
            (one.examples, "examples"),
            (figure(resource, "train", "examples") or 0, "learned"),
            (figure(resource, "train", "examplesPerSecond") or 0, "examples/s"),
            (self._progress.lag(namespace), f"lag (train {train})"),
            (figure(resource, "label", "teacherCalls") or 0, "teacher calls"),
            (f"{float(usd):.4f}", "USD"),
            (figure(resource, "train", "served") or "v0", "served"),
            (figure(resource, "train", "onTrial") or "-", "on trial"),
        ):
            table.add_row(str(value), what)
        return table

    def _decisions(self, one: FinetunerProgress) -> Text:
        text = Text()
        for decision in told(one.decisions):
            style = {"promoted": "green", "drift": "red", "rolled_back": "red"}.get(decision.kind, "dim")
            text.append(
                f"{decision.last_offset:>6}  {_WORDS[decision.kind]:<18} {decision.subject:<14} {decision.reason}\n",
                style=style,
            )
        return text
