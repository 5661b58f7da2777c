"""The ledger: what each owner's teacher has cost, what is reserved, and what is lost.

A reservation is committed before a call and settled when the answer arrives. It ends in exactly one of four ways:

| what happened | entry |
| --- | --- |
| an answer, a refusal or an unusable answer arrived | charged at its cost |
| the request was not sent, or the teacher returned an error | released |
| the request was sent but no complete answer arrived | lost as `broken`, at the upper estimate |
| it expired unsettled: its process was killed or abandoned it | lost as `killed`, at the upper estimate |

Losses count against the budget, because the provider may bill them, and are shown separately. A reservation expires well after its
call's timeout. If its answer still arrives, the loss is reversed and the call is charged. Money is counted in whole
nano-dollars. An owner is `Kind/namespace/name`.
"""

import sqlite3
from dataclasses import dataclass
from typing import cast

from headrace.teachers.teacher import BudgetSpentError

LOST_KEPT_MS = 30 * 86_400_000
"""How long a lost reservation is kept for a late answer. Its sum is never dropped."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens, and nano-dollars."""

    input_tokens: int
    output_tokens: int
    nano_usd: int

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


NOTHING = Cost(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most an owner may ever spend; 0: unlimited."""

    tokens: int = 0
    nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """An open reservation."""

    id: int
    owner: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Spending:
    """The costs of an owner's teacher. Open reservations and lost calls are listed separately, at their upper estimates."""

    calls: int = 0
    cached: int = 0
    """Asks answered from the cache."""
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    open_reservations: int = 0
    open_tokens: int = 0
    open_usd: float = 0.0
    killed_calls: int = 0
    """Calls whose process ended before their answer came."""
    broken_calls: int = 0
    """Calls that were sent but brought no complete answer."""
    lost_tokens: int = 0
    lost_usd: float = 0.0


SPENDING = (
    "SELECT calls, cached, input_tokens, output_tokens, nano_usd, open_reservations, open_tokens, open_nano_usd, "
    "killed_calls, broken_calls, lost_tokens, lost_nano_usd FROM spending WHERE owner = ?"
)


def spending_of(row: tuple[int, ...] | None) -> Spending:
    """Parses a row of `SPENDING`."""
    if row is None:
        return Spending()
    calls, cached, inputs, outputs, nano_usd, count, tokens, open_nano_usd, killed, broken, lost, lost_nano_usd = row
    return Spending(
        calls, cached, inputs, outputs, nano_usd / 1e9, count, tokens, open_nano_usd / 1e9, killed, broken, lost,
        lost_nano_usd / 1e9,
    )  # fmt: skip


def reserve(
    db: sqlite3.Connection, owner: str, cost: Cost, budget: Budget, now_ms: int, expires_at_ms: int
) -> Reservation | BudgetSpentError:
    """Reserves `cost`, unless the total spent, reserved and lost would exceed the budget."""
    expire(db, now_ms)
    row = db.execute(
        "SELECT input_tokens + output_tokens + open_tokens + lost_tokens, nano_usd + open_nano_usd + lost_nano_usd, "
        "lost_tokens, lost_nano_usd FROM spending WHERE owner = ?",
        (owner,),
    ).fetchone()
    tokens, nano_usd, lost_tokens, lost_nano_usd = row or (0, 0, 0, 0)
    if budget.tokens and tokens + cost.tokens > budget.tokens:
        lost = f"{lost_tokens:,} of them lost, " if lost_tokens else ""
        return _budget_spent(owner, f"{tokens:,} of {budget.tokens:,} tokens", lost, f"{cost.tokens:,} tokens")
    if budget.nano_usd and nano_usd + cost.nano_usd > budget.nano_usd:
        lost = f"{lost_nano_usd / 1e9:.4f} of them lost, " if lost_nano_usd else ""
        spent = f"{nano_usd / 1e9:.4f} of {budget.nano_usd / 1e9:.4f} USD"
        return _budget_spent(owner, spent, lost, f"{cost.nano_usd / 1e9:.6f} USD")
    cursor = db.execute(
        "INSERT INTO reservations (owner, input_tokens, output_tokens, nano_usd, reserved_at_ms, expires_at_ms) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (owner, cost.input_tokens, cost.output_tokens, cost.nano_usd, now_ms, expires_at_ms),
    )
    add(db, owner, open_reservations=1, open_tokens=cost.tokens, open_nano_usd=cost.nano_usd)
    return Reservation(cast("int", cursor.lastrowid), owner, cost)


def release(db: sqlite3.Connection, reservation: Reservation) -> bool:
    """Reverses the reservation, or the loss that it became. False: it was already settled."""
    row = db.execute(
        "DELETE FROM reservations WHERE id = ? RETURNING lost_at_ms IS NOT NULL", (reservation.id,)
    ).fetchone()
    if row is None:
        return False
    cost, owner = reservation.cost, reservation.owner
    if row[0]:
        add(db, owner, killed_calls=-1, lost_tokens=-cost.tokens, lost_nano_usd=-cost.nano_usd)
    else:
        add(db, owner, open_reservations=-1, open_tokens=-cost.tokens, open_nano_usd=-cost.nano_usd)
    return True


def charge(db: sqlite3.Connection, reservation: Reservation, cost: Cost) -> None:
    """The call cost this much."""
    if release(db, reservation):
        add(
            db, reservation.owner, calls=1, input_tokens=cost.input_tokens, output_tokens=cost.output_tokens,
            nano_usd=cost.nano_usd,
        )  # fmt: skip


def lose(db: sqlite3.Connection, reservation: Reservation) -> None:
    """The request was sent but no complete answer arrived."""
    if release(db, reservation):
        cost = reservation.cost
        add(db, reservation.owner, broken_calls=1, lost_tokens=cost.tokens, lost_nano_usd=cost.nano_usd)


def expire(db: sqlite3.Connection, now_ms: int) -> int:
    """Counts every expired reservation, of all owners, as lost to a kill; returns how many."""
    rows = db.execute(
        "UPDATE reservations SET lost_at_ms = ?1 WHERE lost_at_ms IS NULL AND expires_at_ms <= ?1 "
        "RETURNING owner, input_tokens + output_tokens, nano_usd",
        (now_ms,),
    ).fetchall()
    for owner, tokens, nano_usd in rows:
        add(
            db, owner, open_reservations=-1, open_tokens=-tokens, open_nano_usd=-nano_usd,
            killed_calls=1, lost_tokens=tokens, lost_nano_usd=nano_usd,
        )  # fmt: skip
    if rows:
        db.execute("DELETE FROM reservations WHERE lost_at_ms <= ?", (now_ms - LOST_KEPT_MS,))
    return len(rows)


def add(db: sqlite3.Connection, owner: str, **changes: int) -> None:
    """Adds to the owner's sums."""
    names = ", ".join(changes)
    marks = ", ".join("?" * len(changes))
    sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in changes)
    db.execute(
        f"INSERT INTO spending (owner, {names}) VALUES (?, {marks}) ON CONFLICT (owner) DO UPDATE SET {sums}",
        (owner, *changes.values()),
    )


def _budget_spent(owner: str, spent: str, lost: str, wanted: str) -> BudgetSpentError:
    return BudgetSpentError(
        f"the budget is spent: {spent} are spent or reserved, {lost}and the next call may cost {wanted}",
        where=f"{owner}: spec.teacher.budget",
        next_step="raise spec.teacher.budget",
    )
