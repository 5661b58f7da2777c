from headrace.testing.cluster import flink_cluster, kafka_address  # noqa: F401
