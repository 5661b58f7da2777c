"""A hundred seeds, and every seed that once failed, come to the result of the undisturbed run."""

from pathlib import Path

import pytest

from headrace.testing.simulation.scheduler import Simulation

SEEDS = range(100)
CASES = [
    int(line.partition("#")[0])
    for line in (Path(__file__).with_name("cases.txt")).read_text("utf-8").splitlines()
    if not line.startswith("#")
]
"""Seeds that once failed."""


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return Simulation(tmp_path_factory.mktemp("simulation"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*SEEDS, *sorted({*CASES} - {*SEEDS})])
def test_a_disturbed_run_comes_to_the_result_of_the_undisturbed_one(seed: int, simulation: Simulation):
    report = simulation.run(seed)
    assert not report.wrong, f"repeat it with: python -m headrace.testing.simulation --seed {seed}"
