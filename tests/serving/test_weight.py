"""What serving loads: neither the gateway's process nor a replica of a Llama knows torch."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.serving.generation import GenerationRequest
from headrace.serving.replica_pool import PoolOptions, ReplicaPool


def test_the_gateways_process_loads_no_numeric_library() -> None:
    program = (
        "import sys, headrace.doors.gateway.app, headrace.doors.gateway.server\n"
        "print([name for name in ('torch', 'transformers', 'ctranslate2', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_replica_of_a_llama_loads_no_torch(tiny: Path) -> None:
    async def run() -> str:
        pool = ReplicaPool(PoolOptions())
        await pool.start()
        steps = [step async for step in pool.generate(tiny, GenerationRequest("r", (5, 6), max_tokens=3))]
        maps = Path(f"/proc/{pool.replicas[0].pid}/maps").read_text()  # noqa: ASYNC240 - not a disk
        await pool.close()
        assert steps[-1].tokens == 3
        return maps

    assert "libtorch" not in asyncio.run(run())
