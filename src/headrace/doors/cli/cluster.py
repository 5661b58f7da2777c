"""cluster up, down, status: a local Kafka and Flink for development."""

import sys
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from headrace.doors.cli.common import Format, Output, State, print_data, say, settings
from headrace.foundation.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from headrace.cluster import ClusterAddresses, ClusterSize, LocalCluster

Directory = Annotated[
    Path | None,
    typer.Option("--directory", help="Folder for data, logs and PID files. Default: STATE/cluster", show_default=False),
]


def _port(name: str, what: str, usual: int) -> typer.models.OptionInfo:
    return typer.Option(
        name, min=1, max=65_535, help=f"{what}. Default: as in the last `up`, initially {usual}", show_default=False
    )


class Part(str, Enum):
    """Servers that can be started alone."""

    kafka = "kafka"
    flink = "flink"


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Runs a local Kafka and Flink for development.", no_args_is_help=True)
    group.command("up", epilog="Example: headrace cluster up && headrace run -f headrace.yaml --until-idle")(up)
    group.command("down", epilog="Example: headrace cluster down --directory /var/tmp/cluster")(down)
    group.command("status", epilog="Exit code 1: a server that was started does not answer.")(status)
    app.add_typer(group, name="cluster")


def up(
    directory: Directory = None,
    kafka_port: Annotated[int | None, _port("--kafka-port", "Port of the broker", 9092)] = None,
    controller_port: Annotated[int | None, _port("--controller-port", "Port of Kafka's controller", 9093)] = None,
    flink_port: Annotated[
        int | None, _port("--flink-port", "Port of the JobManager's REST API and web UI", 8081)
    ] = None,
    gateway_port: Annotated[int | None, _port("--gateway-port", "Port of Flink's SQL gateway", 8083)] = None,
    jobmanager_port: Annotated[int | None, _port("--jobmanager-port", "Port for Flink's internal RPC", 6123)] = None,
    zookeeper_port: Annotated[
        int | None, _port("--zookeeper-port", "Port of ZooKeeper, which stores Flink's job metadata", 2181)
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots", min=1, help="Flink task slots. Default: as in the last `up`, initially 8", show_default=False
        ),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            "-f",
            show_default=False,
            help="YAML whose dataProcessorTemplate sizes the cluster: task slots and Flink's memory",
        ),
    ] = None,
    only: Annotated[Part | None, typer.Option("--only", help="Starts only this one.", show_default=False)] = None,
    state: State = None,
) -> None:
    """Starts the servers that are not running and prints the settings to use them. Needs Java 17; Maven downloads the jars once."""
    import dataclasses

    from headrace.cluster import LocalCluster
    from headrace.cluster.record import read_record

    folder = _folder(directory, state)
    known = read_record(folder)
    given = {
        "kafka": kafka_port, "controller": controller_port, "flink_rest": flink_port, "gateway": gateway_port,
        "jobmanager_rpc": jobmanager_port, "zookeeper": zookeeper_port,
    }  # fmt: skip
    ports = dataclasses.replace(known.ports, **{name: port for name, port in given.items() if port is not None})
    size = known.size if slots is None else dataclasses.replace(known.size, task_slots=slots)
    size = _fitting(size, file) if file else size
    parts = [part.value for part in Part if only in (None, part)]
    cluster = LocalCluster(folder, ports, size=size, parts=parts)
    with Steps() as steps:
        cluster.up(steps.at)
    say(f"all servers answer ({cluster.memory_bytes() / 2**20:,.0f} MB); data and logs are in {folder}")
    say("Add this to headrace.toml:")
    typer.echo(_settings(cluster.addresses, parts))


def _fitting(size: "ClusterSize", files: list[str]) -> "ClusterSize":
    """Large enough for the queries of the files."""
    from headrace.cluster.configuration import at_least
    from headrace.doors.cli.declare import load_or_exit
    from headrace.kinds.stream_finetuner.stages import spec_of

    finetuners = [one for one in load_or_exit(files) if one.kind == "StreamFinetuner"]
    templates = [spec_of(one).finetuner_template.data_processor_template for one in finetuners]
    most = lambda sizes: max((size or 0 for size in sizes), default=0) // 2**20  # noqa: E731
    return at_least(
        size, slots=sum(one.parallelism for one in templates),
        process=most(one.process_memory_size for one in templates),
        flink=most(one.flink_memory_size for one in templates),
        managed=most(one.managed_memory_size for one in templates),
    )  # fmt: skip


def down(directory: Directory = None, state: State = None) -> None:
    """Stops the servers; topics, jobs and checkpoints stay for the next `up`."""
    cluster = _existing(_folder(directory, state))
    running = [name for name in cluster.names if cluster.alive(name)]
    cluster.down()
    say(f"stopped: {', '.join(running)}" if running else "nothing was running")


def status(directory: Directory = None, output: Format = Output.table, state: State = None) -> None:
    """Shows each server: whether it answers, its process, its memory, its address."""
    cluster = _existing(_folder(directory, state))
    where = {
        "broker": cluster.addresses.kafka, "jobmanager": cluster.addresses.flink_rest,
        "gateway": cluster.addresses.flink_gateway,
    }  # fmt: skip
    rows: list[dict[str, object]] = []
    for name in cluster.names:
        pid = cluster.pid(name)
        answers = pid is not None and cluster.answers(name)
        memory = cluster.memory_bytes(name) // 2**20
        rows.append({
            "server": name, "state": "answers" if answers else "down" if pid is None else "does not answer",
            "pid": pid, "memory_mb": memory if pid else None, "address": where.get(name),
        })  # fmt: skip
    print_data(rows, output, ("server", "state", "pid", "memory_mb", "address"))
    if any(row["state"] != "answers" for row in rows):
        raise typer.Exit(1)


class Steps(AbstractContextManager["Steps"]):
    """Each step as a line with the seconds since the start; on a terminal, a spinner below shows what it waits for."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        from rich.console import Console

        self._clock, self._started = clock, clock.monotonic()
        self._console = Console(stderr=True, highlight=False)
        self._turning = self._console.status("looking for Java and the jars") if sys.stderr.isatty() else None

    def at(self, step: str) -> None:
        self._console.print(f"{self._clock.monotonic() - self._started:6.1f} s  {step}", markup=False, soft_wrap=True)
        if self._turning is not None:
            self._turning.update("waiting for it to answer" if step.startswith("starting") else step)

    def __enter__(self) -> Self:
        if self._turning is not None:
            self._turning.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._turning is not None:
            self._turning.stop()


def _folder(directory: Path | None, state: Path | None) -> Path:
    return (settings(state).state / "cluster" if directory is None else directory).resolve()


def _existing(folder: Path) -> "LocalCluster":
    from headrace.cluster import LocalCluster
    from headrace.cluster.record import read_record
    from headrace.foundation.errors import NotFoundError

    parts = read_record(folder).parts
    if not parts:
        raise NotFoundError(
            f"there is no cluster in {folder}", next_step="Run `headrace cluster up` first, or pass --directory DIR."
        )
    return LocalCluster(folder, parts=parts)


def _settings(addresses: "ClusterAddresses", parts: list[str]) -> str:
    lines = {
        "kafka": ['log = "kafka"', f'kafka = "{addresses.kafka}"'],
        "flink": ['streams = "flink"', f'flink = "{addresses.flink_gateway}"',
                  f'flink_jobmanager = "{addresses.flink_rest}"'],
    }  # fmt: skip
    return "\n".join(line for part in parts for line in lines[part])
