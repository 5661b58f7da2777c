"""A local Kafka and Flink, for trying things out and for tests."""

from headrace.cluster.configuration import ClusterAddresses, ClusterPorts, ClusterSize
from headrace.cluster.local_cluster import LocalCluster
from headrace.cluster.security import KafkaSecurity

__all__ = ["ClusterAddresses", "ClusterPorts", "ClusterSize", "KafkaSecurity", "LocalCluster"]
