"""The teacher's money: what the provider billed is stored, or provably lost to a kill."""

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from headrace.foundation.resource_id import ResourceId
from headrace.teachers.answer_store import kept
from headrace.testing.simulation.teacher import Service

_OPEN = "SELECT id FROM reservations WHERE owner = ? AND lost_at_ms IS NULL"
_TWICE = """
SELECT ask_id, COUNT(*) FROM answers WHERE owner = ? AND ask_id <> '' AND ask_id NOT LIKE 'again/%' AND input_tokens > 0
GROUP BY key, CASE outcome WHEN 'answer' THEN '' ELSE ask_id END HAVING COUNT(*) > 1
"""
"""Answers serve every ask with their key, refusals their own ask alone."""


def owner_of(namespace: str) -> ResourceId:
    """The finetuner that asks."""
    return ResourceId("StreamFinetuner", namespace, "desk")


def open_reservations(state: Path, owner: ResourceId) -> set[int]:
    """Calls that nobody has settled yet."""
    return {row[0] for row in _rows(state, _OPEN, owner)}


def imbalances(state: Path, namespace: str, service: Service, cut_off: Collection[int]) -> list[str]:
    """A line for each way in which the ledger differs from the provider's bill. `cut_off`: reservations that a kill left open."""
    owner = owner_of(namespace)
    spent = kept(state / "teachers.sqlite", owner).spending
    stored, billed = spent.calls + spent.broken_calls, service.billed_calls
    wrong: list[str] = []
    if spent.open_reservations:
        wrong.append(f"{namespace}: {spent.open_reservations} reservations are open at the end")
    if spent.killed_calls > len(cut_off):
        wrong.append(f"{namespace}: {spent.killed_calls} calls are lost, and kills left {len(cut_off)} open")
    if not stored <= billed <= stored + spent.killed_calls:
        wrong.append(f"{namespace}: {billed} calls billed, {stored} stored, {spent.killed_calls} lost to kills")
    tokens = spent.input_tokens + spent.output_tokens
    if not tokens <= service.billed_tokens <= tokens + spent.lost_tokens:
        wrong.append(f"{namespace}: {service.billed_tokens} tokens billed, {tokens} stored, {spent.lost_tokens} lost")
    wrong += [f"{namespace}: {times} outcomes of {ask} are paid for" for ask, times in _rows(state, _TWICE, owner)]
    return wrong


def _rows(state: Path, query: str, owner: ResourceId) -> list[tuple[int, ...]]:
    file = state / "teachers.sqlite"
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query, (str(owner),)).fetchall()
