"""The log on Apache Kafka: topics, transactions, offsets and state on a broker, for processes on any machine.

May import foundation, `log/` and confluent_kafka. Knows bytes, never payloads. Each file holds one idea:

- `options`: addresses, credentials, the prefix of every name on the broker
- `errors`: what librdkafka says, as the port's errors
- `wire`: a record as a Kafka message and back; Headrace's names as Kafka's
- `broker`: the administrative connection: topics, ends, groups
- `cursors`: reading a partition from any offset
- `catalog`: which topics there are, how they are kept, and from where they are read
- `reading`: reading a topic, from its last truncation on and through what compaction kept
- `kept`, `compacting`: the newest record of each key, in a companion topic
- `scanning`: reading a partition as Kafka's own messages
- `changelog`: an owner's state as a compacted topic, and its view in memory
- `producers`: transactional producers, one per lease, and their fencing
- `committing`: one Commit as one Kafka transaction
- `identities`: which ids a topic holds
- `leases`: who may commit as a role
- `retention`: what may go
- `notices`: noticing that anybody has committed
- `topic_log`: the port, made of these

What it promises and what it does not: docs/decisions/0021 and 0024.
"""

from collections.abc import Mapping
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.log.kafka.options import read_options
from headrace.log.kafka.topic_log import KafkaTopicLog
from headrace.log.topic_log import TopicLog

__all__ = ["open_log"]


def open_log(state: Path, *, options: Mapping[str, str] | None = None, clock: Clock = SYSTEM_CLOCK) -> TopicLog:
    """Opens the topics under a prefix on a broker. `options`: `kafka` (bootstrap servers), `kafka_prefix`, and librdkafka's own.

    UnavailableError: no broker answers. InvalidDeclarationError: an option or the credentials are wrong.
    """
    del state  # nothing of the log lies on this machine
    return KafkaTopicLog(read_options(options or {}), clock)
