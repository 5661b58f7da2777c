"""The YAML of a simulated job: the same names in two namespaces, over different data."""

from dataclasses import dataclass
from typing import Literal

NAMESPACES = ("north", "south")
"""Words that no message contains: a record that holds the other one's is found by it."""

JOIN = """SELECT t.id AS id, t.event_time AS event_time, t.text AS text,
          CASE WHEN q.bid IS NULL THEN 'fee' WHEN q.bid > t.price THEN 'card' ELSE 'rate' END AS move
        FROM source_stream AS t LEFT JOIN quotes FOR SYSTEM_TIME AS OF t.event_time AS q ON t.symbol = q.symbol"""
WINDOW = """SELECT symbol, window_end, LAST_VALUE(text) AS text,
          CASE WHEN LAST_VALUE(price) > FIRST_VALUE(price) THEN 'card' ELSE 'rate' END AS move
        FROM TABLE(TUMBLE(TABLE source_stream, DESCRIPTOR(event_time), INTERVAL '5' SECOND))
        GROUP BY window_start, window_end, symbol"""

MAX_ATTEMPTS = 3
"""Failures that make a dead letter of a prompt. An outage of the teacher may count as one, so a run has fewer."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What differs between the jobs."""

    query: Literal["join", "window"]
    timeline: Literal["arrival", "event"]
    out_of_orderness: int
    """Seconds."""
    chained: bool
    """A second finetuner learns from the first one's examples."""
    teacher: bool
    """A teacher says what is right; otherwise the rows do."""
    bounded_quotes: bool
    """The right side of the join is read to its end; otherwise it is followed, as the left side is."""


@dataclass(frozen=True, slots=True)
class Declared:
    """The fields that an edit changes."""

    batch_size: int = 4
    approval: Literal["auto", "manual"] = "auto"
    candidate_every: int = 16
    concurrency: int = 6
    """Calls to the teacher under way at once."""


def declarations(shape: Shape, declared: Declared) -> str:
    """The file of declarations."""
    return "---\n".join(_namespace(name, shape, declared) for name in NAMESPACES)


def _namespace(namespace: str, shape: Shape, declared: Declared) -> str:
    quotes = _connector(namespace, "quotes", "bid", shape, follow=not shape.bounded_quotes)
    parts = [
        _connector(namespace, "trades", "price", shape, follow=True),
        *([quotes] if shape.query == "join" else []),
        *([_teacher(namespace)] if shape.teacher else []),
        _finetuner(namespace, shape, declared),
        *([_chained(namespace, shape)] if shape.chained else []),
        _sink(namespace),
    ]
    return "---\n".join(parts)


def _connector(namespace: str, name: str, number: str, shape: Shape, *, follow: bool) -> str:
    return f"""\
apiVersion: llm.nstream.ai/v1
kind: StreamConnector
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  type: file
  file: {{path: {namespace}-{name}.jsonl, format: json, follow: {str(follow).lower()}}}
  schema:
    - {{name: id, type: STRING}}
    - {{name: event_time, type: TIMESTAMP_LTZ(3)}}
    - {{name: symbol, type: STRING}}
    - {{name: {number}, type: BIGINT}}
    - {{name: text, type: STRING}}
  id: [id]
  eventTime: {{column: event_time, outOfOrderness: {shape.out_of_orderness}s, idleTimeout: 1h}}
  timeline: {shape.timeline}
"""


def _teacher(namespace: str) -> str:
    return f"""\
apiVersion: llm.nstream.ai/v1
kind: MegaModel
metadata: {{name: lead, namespace: {namespace}}}
spec:
  modelProvider: OpenAI
  modelTemplate: {{openAI: {{model: simulated, endpoint: "http://127.0.0.1:9/v1"}}}}
  price: {{inputPerMillion: 2.5, outputPerMillion: 10}}
"""


def _finetuner(namespace: str, shape: Shape, declared: Declared) -> str:
    teacher, question = ("megaModel: lead, ", "{text} {move}") if shape.teacher else ("", "{text}")
    return f"""\
apiVersion: llm.nstream.ai/v1
kind: BaseModel
metadata: {{name: tiny, namespace: {namespace}}}
spec:
  baseModelName: tiny
  baseModelServingInfo: {{path: model}}
---
apiVersion: llm.nstream.ai/v1
kind: StreamFinetuner
metadata: {{name: desk, namespace: {namespace}}}
spec:
  finetunerInfo: {{baseModel: tiny, {teacher}dataSource: {{sourceStreamConnector: trades}}}}
  finetunerTemplate:
    preProcessing:
      preProcessingSQL: >-
        {JOIN if shape.query == "join" else WINDOW}
      sampleRatio: 0.9
  ioSequenceLength: {{inputMax: 32, outputMax: 8}}
  promptTemplate: [{{userQuestion: "{question}"}}]
  {_labels(shape, declared)}
  trainer: {{batchSize: {declared.batch_size}, learningRate: 0.005}}
  timeline: {shape.timeline}
  learning: {{warmupSteps: 2}}
  promotion: {{approval: {declared.approval}, candidateEvery: {declared.candidate_every}, anchors: {{max: 4, maxDrop: 0.5}}}}
"""


def _labels(shape: Shape, declared: Declared) -> str:
    if not shape.teacher:
        return "groundTruth: {column: move}"
    return f"teacher: {{concurrency: {declared.concurrency}, maxAttempts: {MAX_ATTEMPTS}}}"


def _chained(namespace: str, shape: Shape) -> str:
    return f"""\
apiVersion: llm.nstream.ai/v1
kind: StreamFinetuner
metadata: {{name: second, namespace: {namespace}}}
spec:
  finetunerInfo: {{baseModel: tiny, dataSource: {{sourceStreamFinetuner: desk}}}}
  finetunerTemplate:
    preProcessing: {{preProcessingSQL: "SELECT event_time, question, answer, teacher FROM source_stream"}}
  ioSequenceLength: {{inputMax: 32, outputMax: 8}}
  promptTemplate: [{{userQuestion: "{{question}}", systemContext: "please"}}]
  trainer: {{batchSize: 8, learningRate: 0.005}}
  timeline: {shape.timeline}
  promotion: {{candidateEvery: 32, anchors: {{max: 4}}}}
"""


def _sink(namespace: str) -> str:
    return f"""\
apiVersion: llm.nstream.ai/v1
kind: StreamConnector
metadata: {{name: rows-out, namespace: {namespace}}}
spec:
  direction: sink
  type: file
  file: {{path: out-{namespace}, format: json, rollRecords: 20, metadata: true}}
  input: {{streamFinetuner: desk, topic: rows}}
"""
