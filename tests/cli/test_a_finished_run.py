"""What a person can look at once a stream has been learned."""

import json
from pathlib import Path
from typing import Any

import pytest

QUESTIONS = 240
pytestmark = pytest.mark.slow  # the desk that it looks at has run as processes


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_summary_counts_every_row_and_example_once(desk: Any):
    one = desk.summary["streamFinetuners"]["desk"]
    assert (one["rows"], one["examples"], one["deadLetters"]) == (QUESTIONS, QUESTIONS, 0)
    assert set(one["exactMatch"]) >= {"first500", "last500", "majority500"}
    assert len(one["weightsSha256"]) == 64
    assert one["servedVersion"].startswith("v")
    assert desk.summary["streamConnectors"]["questions"] == {
        "rows": QUESTIONS,
        "duplicates": 0,
        "deadLetters": 0,
        "finished": True,
    }


def test_running_again_learns_nothing_twice(desk: Any):
    again = json.loads(desk.run("run", "-f", "headrace.yaml", "--until-idle", "-o", "json", "--port", "0").stdout)
    assert again["streamFinetuners"] == desk.summary["streamFinetuners"]


def test_topics_tell_their_length_and_lag(desk: Any):
    topics = {t["topic"]: t for t in json.loads(desk.run("topics", "-o", "json").stdout)}
    assert topics["default.desk.examples"]["records"] == QUESTIONS + 1
    assert topics["default.desk.examples"]["lag"] == {"train/default.desk": 0}
    assert topics["default.desk.scores"]["records"] == QUESTIONS + 1


def test_read_prints_the_records_asked_for(desk: Any):
    done = desk.run("read", "default.questions.events", "--from", "3", "--limit", "2")
    assert [record["offset"] for record in lines(done.stdout)] == [3, 4]
    assert lines(done.stdout)[0]["value"]["id"] == "q0004"


def test_a_topic_that_is_not_there_is_told_with_the_nearest(desk: Any):
    done = desk.run("read", "default.desk.example", check=4)
    assert "default.desk.examples" in done.stderr


def test_get_and_describe_show_what_was_declared_with_its_conditions(desk: Any):
    rows = desk.run("get", "all").stdout.splitlines()
    assert [row.split()[2] for row in rows[1:]] == ["tiny", "questions", "results", "desk"]
    shown = json.loads(desk.run("describe", "streamfinetuner", "desk", "-o", "json").stdout)
    assert shown["status"]["observedGeneration"] == 1
    assert {c["type"] for c in shown["status"]["conditions"]} >= {"Ready", "Learning", "Transforming"}
    assert shown["status"]["progress"]["train"]["examples"] > 0


def test_the_file_sink_holds_every_score_once(desk: Any):
    written = [line for path in sorted((desk.folder / "out").glob("*.jsonl")) for line in lines(path.read_text())]
    assert len(written) == QUESTIONS
    assert len({line["example_id"] for line in written}) == QUESTIONS


def test_lineage_walks_from_a_score_to_the_event_and_back(desk: Any):
    example = lines(desk.run("read", "default.desk.examples", "--from", "5", "--limit", "1").stdout)[0]
    walked = json.loads(desk.run("lineage", example["id"], "-o", "json").stdout)
    topics = [step["topic"] for step in walked["cameFrom"]]
    assert topics[0] == "default.desk.examples"
    assert "default.desk.rows" in topics
    assert "default.questions.events" in topics
    event = next(step["id"] for step in walked["cameFrom"] if step["topic"] == "default.questions.events")
    became = json.loads(desk.run("lineage", event, "-o", "json").stdout)["became"]
    assert {"default.desk.prompts", "default.desk.examples", "default.desk.scores"} <= {
        step["topic"] for step in became
    }


def test_an_exported_version_loads_in_transformers(desk: Any, tmp_path: Path):
    target = tmp_path / "exported"
    desk.run("models", "export", "desk", "--to", str(target))
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoModelForCausalLM.from_pretrained(target).config.model_type == "llama"
    assert AutoTokenizer.from_pretrained(target).eos_token_id is not None
    again = desk.run("models", "export", "desk", "--to", str(target), check=2)
    assert "exists" in again.stderr


def test_a_plan_of_the_same_files_changes_nothing_and_of_others_tells_the_cost(desk: Any, tmp_path: Path):
    same = json.loads(desk.run("plan", "-f", "headrace.yaml", "-o", "json").stdout)
    assert {row["action"] for row in same} == {"unchanged"}
    text = (
        (desk.folder / "headrace.yaml")
        .read_text()
        .replace("SELECT id, text, category", "SELECT id, text, category, event_time")
    )
    (desk.folder / "other.yaml").write_text(text)
    changed = json.loads(desk.run("plan", "-f", "other.yaml", "-o", "json").stdout)
    assert any(row["action"] == "update" and "query" in row["what"] for row in changed)


def test_what_a_role_wrote_is_shown(desk: Any):
    names = desk.run("logs").stdout.split()
    assert {"ingest", "transform", "label", "serve"} <= set(names)
    assert "Use one of:" in desk.run("logs", "nobody", check=4).stderr


@pytest.mark.parametrize(
    ("command", "exit_code", "words"),
    [
        (["get", "strimconnector"], 4, "StreamConnector"),
        (["describe", "streamfinetuner", "dask"], 4, "Applied there: desk."),
        (["validate", "-f", "nothing.yaml"], 2, "nothing.yaml"),
        (["rollback", "dask"], 4, "no versions"),
        (["promote", "desk", "v99"], 4, "v99"),
        (["ask", "desk", "hello", "--port", "9"], 7, "headrace up"),
        (["lineage", "nothing-like-it"], 4, "headrace read"),
        (["sql", "SELECT 1"], 2, "--source"),
        (["topics", "--state", "nowhere"], 4, "headrace apply"),
        (["up", "--host", "0.0.0.0"], 2, "api_key"),
    ],
)
def test_a_wrong_word_is_answered_with_what_would_be_right(desk: Any, command: list[str], exit_code: int, words: str):
    done = desk.run(*command, check=exit_code)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_loads_neither_torch_nor_an_engine(desk: Any):
    import subprocess
    import sys

    code = (
        "import sys; sys.argv = ['headrace', '--help']\n"
        "from headrace.doors.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'duckdb', 'pyarrow', 'fastapi', 'openai', 'mlflow', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
