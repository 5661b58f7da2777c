"""Topics of other people: rows from them and to them, as JSON, Avro or Protobuf.

- `options`: the `kafka:` block of the YAML
- `client`: librdkafka's settings and its errors, as the ports'
- `formats`: a message's bytes as a line of JSON, and back
- `registry`: schemas by id, from a server with Confluent's interface
- `source`, `sink`: the ports
"""
