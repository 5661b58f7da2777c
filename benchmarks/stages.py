"""File → log → rows → log: the ingest and transform stages over a generated file of trades, in one process, in rows per second.

python benchmarks/stages.py [--rows 300000]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from headrace.connectors.source import EventTime, SourceOptions
from headrace.events import topics
from headrace.log.registry import open_log
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.stage import IngestStage
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.stage import TransformStage
from headrace.testing.resource_ids import connector_id, finetuner_id

HERE = Path(__file__).resolve().parent
SQL = (
    "SELECT event_time, trade_id, symbol, price, amount, price * amount AS turnover FROM source_stream WHERE amount > 0"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trades.jsonl"
        subprocess.run(
            [sys.executable, str(HERE / "make_trades.py"), "--rows", str(rows), "--out", str(file)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        source = SourceOptions(
            connector_id("trades"),
            "file",
            {"path": str(file)},
            event_time=EventTime("event_time", 5_000, historical=True),
        )
        log = open_log(Path(folder) / "state")
        binding = StreamBinding("source_stream", topics.events(connector_id("trades")), source)
        started = time.perf_counter()
        ingest = IngestStage(IngestOptions(source), log, "benchmark")
        while log.topic(binding.topic).end_offset <= rows:
            ingest.step()
        read = time.perf_counter()
        transform = TransformStage(
            TransformOptions(finetuner_id("flow"), SQL, (binding,), timeline="event"), log, "benchmark"
        )
        while transform.step():
            pass
        ended = time.perf_counter()
        written = log.topic(topics.rows(finetuner_id("flow"))).end_offset - 1
        ingest.close()
        log.close()
    print(f"file → log: {rows / (read - started):,.0f} rows/s")
    print(f"log → rows → log: {written / (ended - read):,.0f} rows/s")
    print(
        f"file → log → rows → log: {rows / (ended - started):,.0f} rows/s (wanted 50,000), {written:,} of {rows:,} rows"
    )


if __name__ == "__main__":
    main()
