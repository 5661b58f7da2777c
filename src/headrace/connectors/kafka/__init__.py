"""Topics of other people: rows from them and to them, as JSON, Avro or Protobuf.

- `options`: the `kafka:` block of the YAML
- `client`: librdkafka's settings and its errors, as the ports'
- `formats`: a message's bytes as a line of JSON, and back
- `registry`: schemas by id, from a server with Confluent's interface
- `wire`: how a message says by which schema it was written; `avro`, `protobuf`, `writing`: bodies by a schema
- `places`, `fetching`, `lanes`, `reading`: partitions, messages, their order, rows
- `transacting`: messages in one transaction
- `source`, `sink`: the ports
"""
