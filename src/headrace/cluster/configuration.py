"""The configuration of Kafka and Flink: ports, memory sizes, and the files that contain them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.cluster.security import KafkaSecurity

HOST = "127.0.0.1"
_SESSION_MS = 6_000
"""When a killed JobManager's leadership ends; a machine that freezes for longer restarts jobs."""


@dataclass(frozen=True, slots=True)
class ClusterPorts:
    """Loopback ports. Below 32768: JVMs use ephemeral ports, which could otherwise take these first."""

    kafka: int = 9092
    controller: int = 9093
    flink_rest: int = 8081
    gateway: int = 8083
    jobmanager_rpc: int = 6123
    zookeeper: int = 2181


@dataclass(frozen=True, slots=True)
class ClusterSize:
    """Task slots, and memory in MB. Idle, everything together takes about 0.9 GB."""

    task_slots: int = 8
    kafka_heap: int = 256
    jobmanager_heap: int = 256
    gateway_heap: int = 256
    zookeeper_heap: int = 48
    task_heap: int = 256
    task_managed: int = 128
    task_network: int = 64
    task_metaspace: int = 256


_FRAMEWORK, _OVERHEAD = 128, 64
"""A TaskManager's MB for Flink itself, on and off the heap, and for the JVM."""


def at_least(size: ClusterSize, *, slots: int = 0, process: int = 0, flink: int = 0, managed: int = 0) -> ClusterSize:
    """The size with this many slots and a TaskManager with at least this many MB: total process memory, the same without the JVM's metaspace
    and overhead, and managed memory. Values not given stay unchanged.
    """
    pool = max(size.task_managed, managed)
    fixed = _FRAMEWORK + pool + size.task_network
    heap = max(size.task_heap, flink - fixed, process - fixed - size.task_metaspace - _OVERHEAD)
    return replace(size, task_slots=max(size.task_slots, slots), task_managed=pool, task_heap=heap)


@dataclass(frozen=True, slots=True)
class ClusterAddresses:
    """The settings for headrace.toml."""

    kafka: str
    flink_rest: str
    flink_gateway: str


def addresses(ports: ClusterPorts) -> ClusterAddresses:
    return ClusterAddresses(
        f"{HOST}:{ports.kafka}", f"http://{HOST}:{ports.flink_rest}", f"http://{HOST}:{ports.gateway}"
    )


def kafka_properties(directory: Path, ports: ClusterPorts, security: KafkaSecurity | None) -> str:
    """server.properties for one node that is broker and controller. `directory`: Kafka's."""
    listeners = {"PLAINTEXT": (ports.kafka, "PLAINTEXT")} | (security.listeners() if security else {})
    named = [f"{name}://{HOST}:{port}" for name, (port, _) in listeners.items()]
    protocols = [f"{name}:{protocol}" for name, (_, protocol) in listeners.items()]
    values = {
        "process.roles": "broker,controller", "node.id": "1",
        "controller.quorum.bootstrap.servers": f"{HOST}:{ports.controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": ",".join([*named, f"CONTROLLER://{HOST}:{ports.controller}"]),
        "advertised.listeners": ",".join(named),
        "listener.security.protocol.map": ",".join([*protocols, "CONTROLLER:PLAINTEXT"]),
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(directory / "data"),
        "num.partitions": "1", "default.replication.factor": "1", "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1", "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "transaction.max.timeout.ms": "900000",
        "group.initial.rebalance.delay.ms": "0",
        "message.max.bytes": "33554432", "replica.fetch.max.bytes": "33554432",
        "auto.create.topics.enable": "false",
        "log.cleaner.dedupe.buffer.size": "2097152",  # default 128 MB
        "broker.session.timeout.ms": "1500", "broker.heartbeat.interval.ms": "300",  # a killed broker recovers sooner
        **(security.properties(directory) if security else {}),
    }  # fmt: skip
    return "".join(f"{key}={_property(value)}\n" for key, value in values.items())


def flink_config(directory: Path, ports: ClusterPorts, size: ClusterSize) -> str:
    """config.yaml for JobManager, TaskManager and gateway. All memory pools are explicit: no shell script computes them.

    `directory`: Flink's. Jobs keep their checkpoints in it even when they are cancelled.
    """
    values: dict[str, object] = {
        "jobmanager.rpc.address": HOST, "jobmanager.rpc.port": ports.jobmanager_rpc, "jobmanager.bind-host": HOST,
        "rest.address": HOST, "rest.port": ports.flink_rest, "rest.bind-address": HOST,
        "taskmanager.host": HOST, "taskmanager.bind-host": HOST,
        "taskmanager.resource-id": "taskmanager",  # a new one replaces a killed one at once
        "sql-gateway.endpoint.rest.address": HOST, "sql-gateway.endpoint.rest.bind-address": HOST,
        "sql-gateway.endpoint.rest.port": ports.gateway, "sql-gateway.endpoint.rest.bind-port": ports.gateway,
        "taskmanager.numberOfTaskSlots": size.task_slots, "taskmanager.cpu.cores": float(size.task_slots),
        "taskmanager.memory.framework.heap.size": "64m", "taskmanager.memory.task.heap.size": f"{size.task_heap}m",
        "taskmanager.memory.framework.off-heap.size": "64m", "taskmanager.memory.task.off-heap.size": "0m",
        "taskmanager.memory.managed.size": f"{size.task_managed}m",
        "taskmanager.memory.network.min": f"{size.task_network}m",
        "taskmanager.memory.network.max": f"{size.task_network}m",
        "taskmanager.memory.jvm-metaspace.size": f"{size.task_metaspace}m",
        "taskmanager.memory.jvm-overhead.min": "64m", "taskmanager.memory.jvm-overhead.max": "64m",
        "execution.target": "remote", "execution.attached": False, "parallelism.default": 1,
        "state.backend.type": "hashmap",
        "execution.checkpointing.storage": "filesystem",
        "execution.checkpointing.dir": f"file://{directory / 'checkpoints'}",
        "execution.checkpointing.savepoint-dir": f"file://{directory / 'savepoints'}",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "high-availability.type": "zookeeper", "high-availability.cluster-id": "/headrace",
        "high-availability.storageDir": f"file://{directory / 'ha'}",
        "high-availability.zookeeper.quorum": f"{HOST}:{ports.zookeeper}",
        "high-availability.zookeeper.client.session-timeout": f"{_SESSION_MS} ms",
        "high-availability.zookeeper.client.connection-timeout": f"{_SESSION_MS} ms",
        "high-availability.zookeeper.client.retry-wait": "500 ms",
        "high-availability.zookeeper.client.max-retry-attempts": 20,
        "high-availability.zookeeper.client.tolerate-suspended-connections": True,
        "zookeeper.sasl.disable": True,
        "high-availability.jobmanager.port": str(ports.jobmanager_rpc),
        "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": 2_147_483_647,
        "restart-strategy.fixed-delay.delay": "1 s",
        "heartbeat.interval": 1_000, "heartbeat.timeout": 10_000,
        "cluster.registration.initial-timeout": 100, "cluster.registration.max-timeout": 1_000,
        "cluster.registration.error-delay": 500, "cluster.registration.refused-registration-delay": 500,
        "slot.request.timeout": 60_000,
        "io.tmp.dirs": str(directory / "tmp"), "blob.storage.directory": str(directory / "tmp"),
        "web.tmpdir": str(directory / "tmp"), "process.working-dir": str(directory / "work"),
        "web.cancel.enable": True, "classloader.check-leaked-classloader": False,
    }  # fmt: skip
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def zookeeper_config(directory: Path, ports: ClusterPorts) -> str:
    """zoo.cfg of the ZooKeeper that keeps Flink's jobs for a new JobManager. `directory`: Flink's."""
    values = {
        "dataDir": str(directory / "zookeeper"), "clientPort": str(ports.zookeeper), "clientPortAddress": HOST,
        "tickTime": "500", "maxSessionTimeout": "60000", "maxClientCnxns": "0",
        "autopurge.purgeInterval": "1", "autopurge.snapRetainCount": "3",
    }  # fmt: skip
    return "".join(f"{key}={_property(value)}\n" for key, value in values.items())


def log4j_properties() -> str:
    """Three files of 10 MB each; the JVM property `headrace.log` sets the path."""
    return """status = error
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
appender.file.name = file
appender.file.type = RollingFile
appender.file.fileName = ${sys:headrace.log}
appender.file.filePattern = ${sys:headrace.log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1} - %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
"""


_OPENED = ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent",
           "util.concurrent.atomic", "util.concurrent.locks")  # fmt: skip
_FLINK_MODULES = (
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED),
)


@dataclass(frozen=True, slots=True)
class Program:
    """How to start a server's JVM: its part (whose jars it needs), main class, heap in MB and other options.

    `carries_data`: worth optimising; the others start a third sooner without the second compiler.
    """

    part: str
    main: str
    heap: int
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    carries_data: bool = False


def programs(directory: Path, size: ClusterSize) -> Mapping[str, Program]:
    """All servers by name, in start order."""
    flink, configured = "org.apache.flink", ("--configDir", str(directory / "flink" / "conf"))
    direct = 64 + size.task_network  # framework and network memory
    return {
        "zookeeper": Program("flink", f"{flink}.shaded.zookeeper3.org.apache.zookeeper.server.quorum.QuorumPeerMain", size.zookeeper_heap,
                             ("-Dzookeeper.admin.enableServer=false", "-Dzookeeper.preAllocSize=1024"),
                             (str(directory / "flink" / "conf" / "zoo.cfg"),)),
        "broker": Program("kafka", "kafka.Kafka", size.kafka_heap,
                          arguments=(str(directory / "kafka" / "server.properties"),), carries_data=True),
        "jobmanager": Program("flink", f"{flink}.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
                              size.jobmanager_heap, _FLINK_MODULES, (*configured, "--executionMode", "cluster")),
        "taskmanager": Program("flink", f"{flink}.runtime.taskexecutor.TaskManagerRunner", 64 + size.task_heap,
                               (*_FLINK_MODULES, f"-XX:MaxDirectMemorySize={direct}m",
                                f"-XX:MaxMetaspaceSize={size.task_metaspace}m"), configured, carries_data=True),
        "gateway": Program("flink", f"{flink}.table.gateway.SqlGateway", size.gateway_heap, _FLINK_MODULES),
    }  # fmt: skip


def _property(value: str) -> str:
    """Escapes a value for a Java properties file, whatever characters it contains."""
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n")
    return "".join(letter if letter.isascii() else _unicode(letter) for letter in escaped)


def _unicode(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
