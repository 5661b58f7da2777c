"""A Kafka and a Flink on this machine, for trying out and for tests."""
