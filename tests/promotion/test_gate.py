"""The gate promotes, rejects, rolls back and confirms by the rules, and records why."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.events.decision import Command
from headrace.foundation.errors import CorruptDataError
from headrace.promotion.gate import AnchorDifference, GateOptions, PromotionGate, RowDifference, Verdict
from headrace.promotion.trial import spent_on


def flips(mean: float, rows: int, seed: int = 0, discordance: float = 0.2) -> list[float]:
    drawn = np.random.default_rng(seed).random(rows)
    return np.where(drawn < (discordance + mean) / 2, 1.0, np.where(drawn < discordance, -1.0, 0.0)).tolist()


def gate_on_trial(**options: object) -> PromotionGate:
    gate = PromotionGate(GateOptions(**options))
    gate.cut(99, "v1")
    return gate


def run(
    gate: PromotionGate, ds: list[float], *, start: int = 100, anchors: AnchorDifference | None = None
) -> Verdict | None:
    """Feeds candidate rows until a verdict."""
    for place, d in enumerate(ds):
        verdict = gate.observe(RowDifference(start + place, start + place, d), (lambda: anchors) if anchors else None)
        if verdict:
            return verdict
    return None


def run_probation(gate: PromotionGate, ds: list[float]) -> Verdict | None:
    for place, d in enumerate(ds):
        verdict = gate.observe(RowDifference(5000 + place, 5000 + place, previous=d))
        if verdict:
            return verdict
    return None


def test_a_candidate_is_cut_every_so_many_examples_when_none_is_on_trial() -> None:
    gate = PromotionGate(GateOptions(candidate_every=100))
    assert [gate.learned(40), gate.learned(40), gate.learned(40)] == [False, False, True]
    decision = gate.cut(119, "v1")
    assert (decision.kind, decision.subject, decision.details["served"]) == ("cut", "candidate-1", "v0")
    assert not gate.learned(500), "one is on trial"
    with pytest.raises(ValueError, match="candidate-1 is still on trial"):
        gate.cut(200, "v1")
    gate.abandon(300, "drift")
    assert gate.learned(0), "enough has been learned since the last cut"
    assert gate.cut(300, "v1").subject == "candidate-2"


def test_a_better_candidate_is_promoted_with_its_evidence() -> None:
    gate = gate_on_trial()
    verdict = run(gate, flips(0.1, 2000), anchors=AnchorDifference(0.01, 100, 3))
    assert verdict
    assert (verdict.kind, verdict.subject, gate.served, gate.on_probation, gate.on_trial) == (
        "promoted",
        "v1",
        "v1",
        "v0",
        None,
    )
    (decision,) = verdict.decisions
    assert decision.difference
    assert decision.anchors
    assert decision.difference.lower > 0
    assert decision.difference.rows == decision.last_offset - decision.first_offset + 1
    assert (decision.first_offset, decision.anchor_version, decision.anchors.mean) == (100, 3, 0.01)
    assert decision.details["candidate"] == "candidate-1"


def test_a_candidate_that_does_not_win_within_max_rows_is_rejected() -> None:
    gate = gate_on_trial(max_rows=100)
    verdict = run(gate, flips(0.0, 200))
    assert verdict
    assert (verdict.kind, verdict.subject, gate.served, gate.on_trial) == ("rejected", "candidate-1", "v0", None)
    assert verdict.decisions[0].difference
    assert verdict.decisions[0].difference.rows == 100


def test_a_hopeless_candidate_makes_room_before_max_rows() -> None:
    verdict = run(gate_on_trial(), flips(-0.1, 2000))
    assert verdict
    assert verdict.kind == "rejected"
    assert verdict.decisions[0].difference
    assert verdict.decisions[0].difference.rows <= 256


def test_a_drop_on_enough_anchors_rejects_and_on_too_few_does_not() -> None:
    better = flips(0.1, 2000)
    dropped = run(gate_on_trial(), better, anchors=AnchorDifference(-0.02, 100, 1))
    assert dropped
    assert dropped.kind == "rejected"
    assert "anchors" in dropped.decisions[0].reason
    few = run(gate_on_trial(), better, anchors=AnchorDifference(-0.5, 99, 1))
    slight = run(gate_on_trial(), better, anchors=AnchorDifference(-0.019, 256, 1, full=True))
    none = run(gate_on_trial(), better)
    assert few
    assert slight
    assert none
    assert [few.kind, slight.kind, none.kind] == ["promoted"] * 3
    assert few.decisions[0].details["anchorsDecided"] is False
    assert none.decisions[0].anchors is None


def test_a_full_set_of_anchors_decides_however_small() -> None:
    for max_drop in (0.02, 0.0):
        gate = gate_on_trial(max_drop=max_drop)
        verdict = run(gate, flips(0.1, 2000), anchors=AnchorDifference(-0.1, 10, 1, full=True))
        assert verdict
        assert verdict.kind == "rejected"


def test_the_anchors_are_scored_only_when_the_trial_is_won() -> None:
    gate = gate_on_trial(max_rows=50)

    def never() -> AnchorDifference:
        raise AssertionError("scored too early")

    for place in range(50):
        gate.observe(RowDifference(place, place, 0.0), never)
    assert gate.on_trial is None


def test_a_version_that_falls_behind_its_predecessor_is_rolled_back_and_the_trial_with_it() -> None:
    gate = gate_on_trial()
    run(gate, flips(0.1, 2000))
    gate.cut(4999, "v2")
    verdict = run_probation(gate, flips(0.2, 1000, seed=4))
    assert verdict
    assert (verdict.kind, verdict.subject) == ("rolled_back", "v0")
    assert [decision.kind for decision in verdict.decisions] == ["rejected", "rolled_back"]
    assert verdict.decisions[1].details["fallen"] == "v1"
    assert (gate.served, gate.on_trial, gate.on_probation) == ("v0", None, None)


def test_after_a_roll_back_the_next_candidate_gets_the_versions_next_share_of_alpha() -> None:
    gate = gate_on_trial()
    run(gate, flips(0.1, 2000))
    run_probation(gate, flips(0.2, 1000, seed=4))
    assert gate.cut(9000, "v2").details["attempt"] == 2


def test_a_version_that_holds_is_confirmed_at_the_end_of_its_probation() -> None:
    gate = gate_on_trial(probation_rows=200)
    run(gate, flips(0.1, 2000))
    verdict = run_probation(gate, flips(-0.05, 300))
    assert verdict
    assert (verdict.kind, verdict.subject, gate.on_probation) == ("confirmed", "v1", None)
    assert verdict.decisions[0].difference
    assert verdict.decisions[0].difference.rows == 200


def test_a_row_that_settles_both_gives_the_trials_verdict_with_the_next_row() -> None:
    first = run(gate_on_trial(), [1.0] * 100)
    assert first
    assert first.decisions[0].difference
    winning_row = first.decisions[0].difference.rows
    gate = gate_on_trial(probation_rows=5)
    run(gate, [1.0] * 100)
    gate.cut(200, "v2")
    kinds: list[str | None] = []
    for row in range(1, winning_row + 2):
        previous = -0.1 if row > winning_row - 5 else None
        verdict = gate.observe(RowDifference(300 + row, 300 + row, 1.0, previous))
        kinds.append(verdict.kind if verdict else None)
    assert kinds[-3:] == [None, "confirmed", "promoted"]


def test_with_manual_approval_a_winner_waits_and_others_go_on_trying() -> None:
    gate = gate_on_trial(approval="manual")
    verdict = run(gate, flips(0.1, 2000))
    assert verdict
    assert (verdict.kind, gate.served, gate.awaiting, gate.on_trial) == ("awaiting_approval", "v0", "v1", None)
    assert gate.cut(3000, "v2").details["attempt"] == 2
    taken = gate.take_up(Command("promote", "v1", "looks right"), 3100)
    assert [decision.kind for decision in taken.decisions] == ["rejected", "promoted"]
    assert taken.decisions[1].manual
    assert taken.decisions[1].reason == "looks right"
    assert (gate.served, gate.on_probation, gate.awaiting) == ("v1", "v0", None)


def test_a_persons_own_choice_is_not_put_on_probation() -> None:
    gate = gate_on_trial()
    run(gate, flips(0.1, 2000))
    verdict = gate.take_up(Command("rollback", "v0"), 4000)
    assert (verdict.kind, verdict.subject, gate.served, gate.on_probation) == ("rolled_back", "v0", "v0", None)
    gate.take_up(Command("promote", "v1"), 4100)
    assert (gate.served, gate.on_probation) == ("v1", None)


def test_abandoning_without_a_trial_is_nothing() -> None:
    assert PromotionGate(GateOptions()).abandon(5, "drift") is None


def test_the_shares_of_alpha_sum_to_alpha() -> None:
    assert sum(spent_on(attempt, 0.05) for attempt in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)


@settings(max_examples=30)
@given(st.integers(0, 400), st.integers(0, 1000), st.sampled_from(["auto", "manual"]))
def test_a_restart_at_any_row_changes_no_verdict(cut: int, seed: int, approval: str) -> None:
    def life(restart: int | None) -> tuple[list[Verdict], bytes]:
        options = GateOptions(candidate_every=50, probation_rows=60, max_rows=150, approval=approval)
        gate = PromotionGate(options)
        verdicts: list[Verdict] = []
        for place, d in enumerate(flips(0.15, 400, seed)):
            if place == restart:
                gate = PromotionGate.from_state(gate.state(), options)
            row = RowDifference(place, place, d if gate.on_trial else None, -d if gate.on_probation else None)
            if verdict := gate.observe(row, lambda: AnchorDifference(0.0, 60, 1)):
                verdicts.append(verdict)
            if gate.learned(1):
                gate.cut(place, f"v{place}")
        return verdicts, gate.state()

    assert life(cut) == life(None)


def test_a_state_that_is_not_one_is_refused() -> None:
    with pytest.raises(CorruptDataError, match="does not parse"):
        PromotionGate.from_state(b"\xff", GateOptions())


def restored(gate: PromotionGate, **options: Any) -> PromotionGate:
    return PromotionGate.from_state(gate.state(), GateOptions(**options))


def test_manual_approval_holds_back_a_candidate_that_is_on_trial_already() -> None:
    verdict = run(restored(gate_on_trial(), approval="manual"), flips(0.1, 2000))
    assert verdict
    assert (verdict.kind, verdict.subject) == ("awaiting_approval", "v1")


def test_a_version_that_waits_goes_on_waiting_when_approval_becomes_automatic() -> None:
    gate = gate_on_trial(approval="manual")
    run(gate, flips(0.1, 2000))
    gate = restored(gate, approval="auto")
    assert (gate.awaiting, gate.served) == ("v1", "v0")
    gate.cut(3000, "v2")
    verdict = run(gate, flips(0.1, 2000, seed=5))
    assert verdict
    assert (verdict.kind, verdict.subject) == ("promoted", "v2")


def test_alpha_changes_with_the_next_candidate_and_the_next_probation() -> None:
    gate = restored(gate_on_trial(alpha=0.05), alpha=0.5)
    verdict = run(gate, flips(0.1, 2000))
    assert verdict
    assert verdict.decisions[0].difference
    assert verdict.decisions[0].difference.alpha == pytest.approx(0.05), (
        "two-sided: twice the half that it was cut with"
    )
    assert gate.cut(5000, "v2").details["alpha"] == pytest.approx(0.25)
    fallen = run_probation(restored(gate, alpha=0.01), flips(0.2, 1000, seed=4))
    assert fallen
    assert fallen.decisions[-1].difference
    assert fallen.decisions[-1].difference.alpha == pytest.approx(1.0), "the probation began under 0.5"


def test_shares_of_alpha_spent_under_changing_options_never_exceed_the_largest() -> None:
    alphas = [0.05, 0.01, 0.05, 0.2, 0.2, 0.03] * 500
    assert sum(spent_on(attempt + 1, alpha) for attempt, alpha in enumerate(alphas)) < max(alphas)


def test_max_rows_candidate_every_and_probation_rows_act_at_once() -> None:
    gate = gate_on_trial(max_rows=2000)
    assert run(gate, flips(0.0, 50)) is None
    verdict = run(restored(gate, max_rows=20), [0.0])
    assert verdict
    assert verdict.kind == "rejected"
    gate = gate_on_trial()
    run(gate, flips(0.1, 2000))
    assert run_probation(gate, flips(0.0, 30)) is None
    confirmed = run_probation(restored(gate, probation_rows=10), [0.0])
    assert confirmed
    assert confirmed.kind == "confirmed"
    assert not gate.learned(60)
    assert restored(gate, candidate_every=50).learned(0)


def test_a_trial_and_the_probation_that_follows_keep_the_metric_of_the_cut() -> None:
    gate = PromotionGate(GateOptions())
    assert gate.cut(99, "v1", "exact").details["metric"] == "exact"
    gate = restored(gate)
    assert gate.metric_on_trial == "exact"
    run(gate, flips(0.1, 2000))
    assert (gate.metric_on_trial, restored(gate).metric_on_probation) == ("", "exact")
