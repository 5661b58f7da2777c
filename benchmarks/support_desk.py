"""The support desk's stream, unthrottled: exact match before and after the policy changes, recovery, promotions, examples per second.

    python benchmarks/support_desk.py

Runs `examples/support/demo.py` without a terminal and reads what its state directory holds.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from headrace.control.summary import read_decisions, read_scores
from headrace.events import codec, topics
from headrace.events.example import Example
from headrace.events.score import Score
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.stage import read_statuses
from headrace.testing.resource_ids import finetuner_id

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "support"
MODELS = ("learner", "served")


def changed_at(log: TopicLog) -> int:
    """Offset of the first example answered by the second policy: its intent goes to another team than before."""
    teams: dict[str, str] = {}
    for record in log.read(topics.examples(finetuner_id("support-desk")), 0, max_records=10_000):
        if record.kind != codec.KINDS[Example]:
            continue
        intent, _, team = codec.decode(record, Example).answer.partition(" | ")
        if teams.setdefault(intent, team) != team:
            return record.offset
    raise SystemExit("the policy did not change in this run")


def mean(scores: list[Score], model: str) -> float:
    hits = [one.exact for score in scores for one in score.models if one.model == model]
    return round(sum(hits) / len(hits), 3)


def figures(log: TopicLog) -> dict[str, object]:
    scores = read_scores(log, finetuner_id("support-desk"))
    change = next(index for index, score in enumerate(scores) if score.offset >= changed_at(log))
    decisions = read_decisions(log, finetuner_id("support-desk"))
    before, after = scores[max(0, change - 500) : change], scores[-500:]
    recovering = [
        mean(scores[start : start + 100], "learner")
        for start in range(change, min(len(scores) - 100, change + 1000), 50)
    ]
    level = mean(before, "learner")
    back = next((50 * place for place, value in enumerate(recovering) if value >= level), None)
    rate = next(one.progress["examplesPerSecond"] for one in read_statuses(log) if one.stage == "train")
    return {
        "examples": len(scores),
        "policy changed at": change,
        "500 before the change": {model: mean(before, model) for model in MODELS} | {"majority": majority(before)},
        "last 500": {model: mean(after, model) for model in MODELS} | {"majority": majority(after)},
        "rows after the change until 100 rows score as before": back,
        "promotions": sum(one.kind == "promoted" for one in decisions),
        "drift seen after": next(
            (one.last_offset - scores[change].offset for one in decisions if one.kind == "drift"), None
        ),
        "examples per second": rate,
    }


def majority(scores: list[Score]) -> float:
    return round(sum(score.majority_exact for score in scores) / len(scores), 3)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    done = subprocess.run(
        [sys.executable, str(DEMO / "demo.py"), "--no-live"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    took = next(line for line in done.stdout.splitlines() if line.startswith("That took"))
    log = open_log(DEMO / ".demo" / "state")
    for name, value in figures(log).items():
        print(f"{name}: {json.dumps(value)}")
    print(took.partition(".")[0])


if __name__ == "__main__":
    main()
