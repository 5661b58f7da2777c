"""`kill -9` of TaskManager, JobManager, broker and each role, all in one run on Kafka and Flink: the same rows, the same examples, and
weights that the recorded examples lead to."""

import json
import signal
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from headrace.cluster import LocalCluster
from headrace.control.readers import undeclared
from headrace.events import topics
from headrace.log.registry import open_log
from headrace.models.tiny import new_checkpoint
from headrace.stages.train.train_state import read_train_state
from headrace.testing.builders import read_all
from headrace.testing.cluster import running
from headrace.testing.cluster_kills import ROLES, SERVERS, Assassin, Struck, contents, replayed_weights
from headrace.testing.light_learner import open_light_learner
from headrace.testing.pipeline import Pipeline, declared
from headrace.testing.real_kills import LIGHT, WholeRun
from headrace.testing.resource_ids import finetuner_id

SEED, TRADES = 11, 2_000
RUN_SECONDS = 600
MOST_RUNS = 3
JOB = """
apiVersion: streams.nstream.ai/v1
kind: StreamConnector
metadata: {name: trades}
spec:
  direction: source
  type: file
  file: {path: trades.jsonl, format: json}
  schema:
    - {name: event_time, type: TIMESTAMP_LTZ(3)}
    - {name: trade_id,   type: BIGINT}
    - {name: symbol,     type: STRING}
    - {name: price,      type: "DECIMAL(38, 18)"}
    - {name: amount,     type: "DECIMAL(38, 18)"}
  key: [symbol]
  id: [symbol, trade_id]
  eventTime: {column: event_time, outOfOrderness: 5s}
  timeline: event
---
apiVersion: llm.nstream.ai/v1
kind: BaseModel
metadata: {name: tiny}
spec: {baseModelName: tiny, baseModelServingInfo: {path: model}}
---
apiVersion: llm.nstream.ai/v1
kind: StreamFinetuner
metadata: {name: bars}
spec:
  finetunerInfo: {baseModel: tiny, dataSource: {sourceStreamConnector: trades}}
  finetunerTemplate:
    dataProcessorTemplate: {checkpointingInterval: 1s}
    preProcessing:
      preProcessingSQL: |
        SELECT window_start, FIRST_VALUE(price) AS o, MAX(price) AS h, MIN(price) AS l, LAST_VALUE(price) AS c, SUM(amount) AS v,
               COUNT(*) AS n, CASE WHEN LAST_VALUE(price) > FIRST_VALUE(price) THEN 'up' ELSE 'down' END AS answer
        FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
        GROUP BY window_start, window_end, symbol
  groundTruth: {column: answer}
  timeline: event
  promptTemplate: [{userQuestion: "{o} {c}"}]
"""


@pytest.fixture
def job(tmp_path: Path, shared_data: Path) -> Path:
    """The folder of the job: real trades in the exchange's order, and an untrained model."""
    folder = tmp_path / "job"
    folder.mkdir()
    lines = (shared_data / "market" / "trades-XRP_ETH.jsonl").read_text("utf-8").splitlines(keepends=True)[:TRADES]
    (folder / "trades.jsonl").write_text("".join(lines), "utf-8")
    words = [json.loads(line)["event_time"][:10] for line in lines[:50]] + ["0 1 2 3 4 5 6 7 8 9 . up down"] * 50
    new_checkpoint(folder / "model", size="tiny", text=words, seed=1)
    (folder / "job.yaml").write_text(JOB, "utf-8")
    return folder


def run_up_to_the_examples(job: Path) -> None:
    """Undisturbed, in this process, on SQLite and DuckDB; no row and no example depends on a trainer."""
    whole = declared(job / "job.yaml", job / "embedded")
    with Pipeline(whole.only(("ingest", "transform", "prompt", "label")), job / "embedded") as pipeline:
        pipeline.run(max_turns=100_000)


def environ(cluster: LocalCluster, prefix: str) -> dict[str, str]:
    """Of a run on the cluster."""
    at = cluster.addresses
    return {
        "HEADRACE_TRACKING": "none", "OMP_NUM_THREADS": "1",
        "HEADRACE_LOG": "kafka", "HEADRACE_KAFKA": at.kafka, "HEADRACE_KAFKA_PREFIX": prefix, "HEADRACE_STREAMS": "flink",
        "HEADRACE_FLINK": at.flink_gateway, "HEADRACE_FLINK_JOBMANAGER": at.flink_rest,
    }  # fmt: skip


def run_under_strikes(cluster: LocalCluster, job: Path, environment: dict[str, str]) -> tuple[int, list[Struck]]:
    """The exit code, and what was killed meanwhile.

    Kafka's client may abort its process when a broker dies under an admin request (librdkafka issue 4605). That is one kill more: the
    run is started again, as a process manager does, and the strikes continue.
    """
    struck: list[Struck] = []
    for seed in range(SEED, SEED + MOST_RUNS):
        run = WholeRun(job / "job.yaml", job / "state", environ=environment, words=job / "words.txt", program=LIGHT)
        assassin = Assassin(cluster, run.pid, seed)
        left = {*SERVERS, *ROLES} - {one.what for one in struck}
        assassin.strike(sorted(left), pause=(1.0, 4.0), alive=run.alive)
        struck += assassin.struck
        code = run.wait(timeout_seconds=RUN_SECONDS)
        if code != -signal.SIGABRT:
            return code, struck
    return -signal.SIGABRT, struck


@pytest.mark.kill
@pytest.mark.timeout(900)
def test_kills_of_every_server_and_every_role_in_one_run_change_no_row_no_example_and_no_weight(
    job: Path, flink_cluster: LocalCluster
) -> None:
    rows, examples, scores = (name(finetuner_id("bars")) for name in (topics.rows, topics.examples, topics.scores))
    run_up_to_the_examples(job)
    prefix = f"kills{uuid4().hex[:8]}."

    with running(flink_cluster):
        code, struck = run_under_strikes(flink_cluster, job, environ(flink_cluster, prefix))
        assert code == 0, f"{struck}\n{(job / 'words.txt').read_text('utf-8')[-3_000:]}"
        options = {"kafka": flink_cluster.addresses.kafka, "kafka_prefix": prefix}
        with (
            closing(open_log(job / "state", technology="kafka", options=options)) as log,
            closing(open_log(job / "embedded")) as reference,
        ):
            assert contents(log, rows) == contents(reference, rows)
            assert contents(log, examples) == contents(reference, examples)
            recorded = read_all(log, examples)
            assert len(read_all(log, scores)) > 0
            trained = read_train_state(log, finetuner_id("bars"))
            whole = declared(job / "job.yaml", job / "replay")
            assert topics.job(finetuner_id("bars")) in {one.topic for one in log.groups()}
            assert undeclared(log, whole) == []  # nothing that a running stage reads would be released
    with closing(open_log(job / "replay")) as fresh:
        replayed = replayed_weights(recorded, whole, fresh, job / "replay", open_light_learner)
    assert trained is not None
    assert trained.weights_sha256 == replayed
    assert {one.what for one in struck} >= set(SERVERS)
