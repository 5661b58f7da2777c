"""External Kafka topics: rows read from and written to them, as JSON, Avro or Protobuf.

- `options`: the `kafka:` block of the YAML
- `client`: librdkafka's settings, and its errors mapped to the ports'
- `formats`: converts a message's bytes to a line of JSON and back
- `registry`: schemas by id, from a server with Confluent's interface
- `wire`: how a message names its schema; `avro`, `protobuf`, `writing`: bodies with a schema
- `places`, `fetching`, `lanes`, `reading`: partitions, messages, their order, rows
- `transacting`: messages in one transaction
- `source`, `sink`: the ports
"""
