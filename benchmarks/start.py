"""How long `headrace --help` takes, and how long after `headrace run` the first example is learned.

python benchmarks/start.py [--runs 9]
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUPPORT = ROOT / "examples" / "support"
sys.path.insert(0, str(SUPPORT))


def help_seconds(command: list[str], runs: int) -> float:
    times: list[float] = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([*command, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def learned(state: Path) -> int:
    """Examples learned so far, as the running trainer says."""
    from headrace.log.registry import open_log
    from headrace.stages.stage import read_statuses

    if not (state / "log.sqlite").exists():
        return 0
    log = open_log(state)
    try:
        figures = [one.progress.get("examples", 0) for one in read_statuses(log) if one.stage == "train"]
        return int(figures[0]) if figures else 0
    finally:
        log.close()


def first_example_seconds(command: list[str], folder: Path) -> float:
    import demo

    from headrace.models.tiny import new_checkpoint

    shutil.copytree(SUPPORT / "data", folder / "data")
    shutil.copy(SUPPORT / "headrace.yaml", folder)
    shutil.copy(SUPPORT / "routing.md", folder)
    new_checkpoint(folder / ".demo" / "model", size="tiny", text=demo.words())
    teacher = demo.start_teacher(folder / "routing.md")
    started = time.perf_counter()
    run = subprocess.Popen(
        [*command, "run", "-f", "headrace.yaml", "--until-idle", "--port", "0"], cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HEADRACE_TRACKING": "none"},
    )  # fmt: skip
    try:
        while not learned(folder / ".headrace"):
            time.sleep(0.05)
        return time.perf_counter() - started
    finally:
        run.send_signal(signal.SIGINT)
        run.wait()
        teacher.terminate()
        teacher.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="of --help; the median is printed")
    runs = parser.parse_args().runs
    command = [str(Path(sys.executable).parent / "headrace")]
    print(json.dumps({"help_seconds_median": round(help_seconds(command, runs), 3), "target": 0.3}))
    with tempfile.TemporaryDirectory() as folder:
        print(
            json.dumps(
                {"first_example_learned_seconds": round(first_example_seconds(command, Path(folder)), 1), "target": 15}
            )
        )


if __name__ == "__main__":
    main()
