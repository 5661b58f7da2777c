"""The log on Apache Kafka: topics, transactions, offsets and state on a broker, for processes on any machine.

May import foundation, `log/` and confluent_kafka. Handles bytes, never payloads. Each file holds one idea:

- `options`: addresses, credentials, the prefix of all names on the broker
- `errors`: maps librdkafka's errors to the port's
- `wire`: converts records to Kafka messages and back, and Headrace's names to Kafka's
- `broker`: the administrative connection: topics, ends, groups
- `cursors`: reading a partition from any offset
- `catalog`: which topics exist, how they are kept, and where reading starts
- `reading`: reading a topic, from its last truncation and including what compaction kept
- `kept`, `compacting`: the newest record of each key, in a companion topic
- `scanning`: reading a partition as Kafka's own messages
- `changelog`: an owner's state as a compacted topic, and its view in memory
- `producers`: transactional producers, one per lease, and their fencing
- `committing`: one Commit as one Kafka transaction
- `identities`: which ids a topic holds
- `leases`: who may commit under a role
- `retention`: what may be dropped
- `notices`: notices commits by any process
- `topic_log`: the port, built on these

Guarantees and limits: docs/decisions/0021 and 0024.
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

    UnavailableError: no broker responds. InvalidDeclarationError: an option or the credentials are wrong.
    """
    del state  # this log keeps nothing on this machine
    return KafkaTopicLog(read_options(options or {}), clock)
