"""The desk in virtual time: asking once, pace, limits, failures, cancellation."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.events.example import Price
from headrace.events.message import Message
from headrace.foundation.resource_id import ResourceId
from headrace.teachers.desk import DeskAnswer, TeacherDesk
from headrace.teachers.pacing import Pace
from headrace.teachers.teacher import (
    RateLimits,
    RefusedError,
    TeacherRejectedError,
    TeacherUnavailableError,
    UnusableAnswerError,
    Usage,
)

F, G, LIVE, HISTORY = (ResourceId("StreamFinetuner", "default", name) for name in ("f", "g", "live", "history"))


def ask(desk: TeacherDesk, text: str = "hello", **more: Any):
    return desk.ask([Message("user", text)], **{"owner": F, "max_output_tokens": 8, **more})


class TestCache:
    def test_an_equal_prompt_is_asked_once_and_costs_nothing_the_second_time(self, desks):
        teacher = desks.scripted()

        async def twice(desk: TeacherDesk) -> list[DeskAnswer]:
            return [await ask(desk), await ask(desk)]

        first, second = desks.use(teacher, twice, usd_per_million_input_tokens=1.0, usd_per_million_output_tokens=2.0)
        assert first == DeskAnswer("answer to hello", "m-1", cached=False, price=Price(10, 5, 20e-6))
        assert second == DeskAnswer("answer to hello", "m-1", cached=True, price=Price())
        assert len(teacher.calls) == 1

    def test_the_cache_outlives_a_restart(self, desks):
        desks.use(desks.scripted(), ask)
        teacher = desks.scripted()
        assert desks.use(teacher, ask).cached
        assert teacher.calls == []

    def test_concurrent_equal_prompts_ask_once(self, desks):
        teacher = desks.scripted(seconds=1.0)

        async def many(desk: TeacherDesk):
            return await asyncio.gather(*(ask(desk) for _ in range(20))), desk.spent(F)

        answers, spent = desks.use(teacher, many)
        assert len(teacher.calls) == 1
        assert [answer.cached for answer in answers] == [False] + [True] * 19
        assert (spent.calls, spent.cached, spent.input_tokens, spent.output_tokens) == (1, 19, 10, 5)

    def test_a_failure_on_the_way_reaches_everybody_who_waits(self, desks):
        teacher = desks.scripted(RefusedError("no"), seconds=1.0)

        async def many(desk: TeacherDesk):
            return await asyncio.gather(*(ask(desk) for _ in range(3)), return_exceptions=True)

        assert [type(answer) for answer in desks.use(teacher, many)] == [RefusedError] * 3
        assert len(teacher.calls) == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"max_output_tokens": 9},
            {"text": "hello "},
        ],
    )
    def test_another_prompt_is_another_question(self, desks, other):
        async def both(desk: TeacherDesk):
            await ask(desk)
            return await ask(desk, **other)

        assert not desks.use(desks.scripted(), both).cached

    def test_another_model_or_provider_is_asked_itself(self, desks):
        desks.use(desks.scripted(), ask)
        assert not desks.use(desks.scripted(model="n"), ask).cached
        assert not desks.use(desks.scripted(), ask, provider="Other").cached

    def test_roles_are_part_of_the_prompt(self, desks):
        async def keys(desk: TeacherDesk):
            return {desk.key("default", [Message(role, "x")], 8) for role in ("system", "user", "assistant")} | {
                desk.key("default", [Message("user", "x"), Message("user", "")], 8)
            }

        assert len(desks.use(desks.scripted(), keys)) == 4

    def test_asking_again_with_the_same_id_gives_the_same_answer_at_the_same_price(self, desks):
        async def first(desk: TeacherDesk):
            return await ask(desk, ask_id="p1"), await ask(desk, ask_id="p2")

        async def again(desk: TeacherDesk):
            return await ask(desk, ask_id="p1"), await ask(desk, ask_id="p2")

        teacher = desks.scripted()
        before = desks.use(teacher, first)
        after = desks.use(teacher, again)
        assert before == after
        assert [answer.cached for answer in after] == [False, True]
        assert len(teacher.calls) == 1

    def test_the_same_id_with_another_prompt_is_asked(self, desks):
        async def both(desk: TeacherDesk):
            await ask(desk, ask_id="p1")
            return await ask(desk, "other", ask_id="p1")

        assert desks.use(desks.scripted(), both).text == "answer to other"

    def test_a_fresh_ask_passes_the_cache_by_and_renews_it(self, desks):
        async def three(desk: TeacherDesk):
            return [
                await ask(desk, ask_id="p1"),
                await ask(desk, ask_id="drift-1", fresh=True),
                await ask(desk, ask_id="p2"),
                await ask(desk, ask_id="drift-1", fresh=True),
                await ask(desk, ask_id="p1"),
            ]

        teacher = desks.scripted("old", "new")
        answers = desks.use(teacher, three)
        assert [answer.text for answer in answers] == ["old", "new", "new", "new", "old"]
        assert [answer.cached for answer in answers] == [False, False, True, False, False]

    def test_who_asks_apart_takes_what_is_known_and_changes_nobody_s_price(self, desks):
        async def several(desk: TeacherDesk):
            await ask(desk, "a")
            return [
                await ask(desk, "a", apart=True),
                await ask(desk, "b", apart=True, ask_id="x"),
                await ask(desk, "b", apart=True, ask_id="x"),
                await ask(desk, "b", apart=True),
                await ask(desk, "b"),
            ]

        answers = desks.use(desks.scripted(), several)
        assert [answer.cached for answer in answers] == [True, False, False, True, False]

    def test_answers_made_from_other_versions_of_a_changed_document_are_asked_anew(self, desks):
        async def change(desk: TeacherDesk):
            await ask(desk, "a", cites=[("doc", "1"), ("other", "1")], ask_id="a")
            await ask(desk, "b", cites=[("other", "1")])
            await ask(desk, "c", cites=[("doc", "2")])
            assert await desk.renew(F, {"doc": "2", "never": "1"}) == 1
            again = [
                await ask(desk, "a", cites=[("doc", "1"), ("other", "1")], ask_id="a"),
                await ask(desk, "b", cites=[("other", "1")]),
                await ask(desk, "c", cites=[("doc", "2")]),
            ]
            assert await desk.renew(F, {"doc": "2"}) == 0
            return again

        teacher = desks.scripted()
        answers = desks.use(teacher, change)
        assert [answer.cached for answer in answers] == [False, True, True]
        assert teacher.asked == ["a", "b", "c", "a"]

    def test_the_same_text_made_from_another_version_is_another_question(self, desks):
        async def both(desk: TeacherDesk):
            await ask(desk, cites=[("doc", "1"), ("doc", "1"), ("other", "1")])
            swapped = await ask(desk, cites=[("other", "1"), ("doc", "1")])
            return swapped, await ask(desk, cites=[("doc", "2"), ("other", "1")])

        swapped, other = desks.use(desks.scripted(), both)
        assert (swapped.cached, other.cached) == (True, False)

    def test_a_version_that_comes_back_is_kept_again_and_a_deleted_document_has_none(self, desks):
        async def there_and_back(desk: TeacherDesk):
            for holds in ("1", "2", "1", None):
                await desk.renew(F, {"doc": holds})
                await ask(desk, cites=[("doc", "1")])
            return [await ask(desk, cites=[("doc", "1")])]

        teacher = desks.scripted()
        desks.use(teacher, there_and_back)
        assert len(teacher.asked) == 5, (
            "asked while 1 holds, while it does not, when it holds again, and twice when there is none"
        )

    @pytest.mark.parametrize("name", ["doc@2", "doc", "do", "@", "doc@2@1", 'a"b', "d'; DROP TABLE answers; --"])
    def test_names_with_signs_in_them_are_told_apart(self, desks, name: str):
        names = ["doc@2", "doc", "do", "@", "doc@2@1", 'a"b', "d'; DROP TABLE answers; --"]

        async def change(desk: TeacherDesk):
            for one in names:
                await ask(desk, one, cites=[(one, "1")])
            assert await desk.renew(F, {name: "1@2"}) == 1
            return [(await ask(desk, one, cites=[(one, "1")])).cached for one in names]

        assert desks.use(desks.scripted(), change) == [one != name for one in names]

    def test_each_finetuner_leaves_a_version_behind_by_itself(self, desks):
        async def change(desk: TeacherDesk):
            await ask(desk, cites=[("doc", "1")], owner=HISTORY)
            assert await desk.renew(LIVE, {"doc": "2"}) == 0
            return [(await ask(desk, cites=[("doc", "1")], owner=one)).cached for one in (HISTORY, LIVE)]

        assert desks.use(desks.scripted(), change) == [True, False]

    def test_an_answer_that_arrives_after_its_document_changed_is_not_kept(self, desks):
        async def overlap(desk: TeacherDesk):
            on_the_way = asyncio.create_task(ask(desk, cites=[("doc", "1")]))
            await asyncio.sleep(0.5)
            await desk.renew(F, {"doc": "2"})
            return await on_the_way, await ask(desk, cites=[("doc", "1")])

        first, second = desks.use(desks.scripted(seconds=1.0), overlap)
        assert first.text == second.text
        assert not second.cached

    def test_each_finetuner_pays_for_itself_and_shares_the_answers(self, desks):
        async def both(desk: TeacherDesk):
            await ask(desk, owner=F)
            answer = await ask(desk, owner=G)
            return answer, desk.spent(F), desk.spent(G), desk.spent(F.sibling("StreamFinetuner", "nobody"))

        answer, f, g, nobody = desks.use(desks.scripted(), both)
        assert answer.cached
        assert (f.calls, f.cached, g.calls, g.cached) == (1, 0, 0, 1)
        assert nobody.calls == nobody.open_reservations == 0


class TestPace:
    def test_no_more_calls_than_declared_go_on_at_once(self, desks):
        teacher = desks.scripted(seconds=1.0)

        async def many(desk: TeacherDesk):
            await asyncio.gather(*(ask(desk, str(number)) for number in range(25)))

        desks.use(teacher, many, concurrency=4)
        assert teacher.most_at_once == 4
        assert teacher.calls[-1] - teacher.calls[0] == pytest.approx(6.0)

    @settings(max_examples=30, deadline=None)
    @given(
        per_minute=st.floats(1, 5000),
        gaps=st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.3, 2.0, 90.0]), min_size=1, max_size=40),
    )
    def test_calls_never_pass_the_declared_rate(self, virtual, per_minute, gaps):
        async def main() -> list[float]:
            clock = virtual.clock
            pace = Pace(per_minute, clock)
            times: list[float] = []

            async def one() -> None:
                await pace.take()
                times.append(clock.monotonic())

            tasks = []
            for gap in gaps:
                await asyncio.sleep(gap)
                tasks.append(asyncio.create_task(one()))
            await asyncio.gather(*tasks)
            return times

        times = virtual.run(main)
        burst = max(1.0, per_minute / 60)
        for first in range(len(times)):
            for last in range(first, len(times)):
                elapsed = times[last] - times[first]
                assert last - first + 1 <= elapsed * per_minute / 60 + burst + 1e-6

    def test_requests_per_minute_spread_the_calls(self, desks):
        teacher = desks.scripted()

        async def many(desk: TeacherDesk):
            await asyncio.gather(*(ask(desk, str(number)) for number in range(5)))

        desks.use(teacher, many, requests_per_minute=30)
        gaps = [after - before for before, after in zip(teacher.calls, teacher.calls[1:], strict=False)]
        assert gaps == pytest.approx([2.0] * 4)

    def test_a_pause_that_the_teacher_asks_for_holds_everybody_back(self, desks):
        teacher = desks.scripted(TeacherUnavailableError("429", retry_after_seconds=9.0))

        async def many(desk: TeacherDesk):
            first = asyncio.create_task(ask(desk, "first"))
            await asyncio.sleep(1.0)
            await asyncio.gather(first, *(ask(desk, str(number)) for number in range(5)))

        desks.use(teacher, many, concurrency=2)
        assert teacher.calls[0] == 1000.0
        assert all(at >= 1009.0 for at in teacher.calls[1:])
        assert len(teacher.calls) == 7

    def test_nothing_leaves_while_the_providers_limit_is_used_up(self, desks):
        teacher = desks.scripted(limits=RateLimits(requests_remaining=0, requests_reset_seconds=5.0))

        async def many(desk: TeacherDesk):
            await ask(desk, "first")
            await asyncio.gather(*(ask(desk, str(number)) for number in range(3)))

        desks.use(teacher, many, concurrency=1)
        assert teacher.calls == pytest.approx([1000.0, 1005.0, 1010.0, 1015.0])

    def test_calls_on_the_way_count_against_what_is_left(self, desks):
        teacher = desks.scripted(seconds=1.0, limits=RateLimits(requests_remaining=2, requests_reset_seconds=20.0))

        async def many(desk: TeacherDesk):
            await ask(desk, "first")
            await asyncio.gather(*(ask(desk, str(number)) for number in range(3)))

        desks.use(teacher, many, concurrency=16)
        assert sum(at < 1002.0 for at in teacher.calls) == 3

    def test_a_response_that_shows_room_again_lets_the_waiting_go_early(self, desks):
        async def many(desk: TeacherDesk):
            await ask(desk, "first")
            slow = asyncio.create_task(ask(desk, "slow"))
            await asyncio.sleep(0.1)
            waiting = asyncio.create_task(ask(desk, "waiting"))
            await asyncio.sleep(0.1)
            teacher.limits = RateLimits(requests_remaining=100, requests_reset_seconds=60.0)
            await asyncio.gather(slow, waiting)

        teacher = desks.scripted(limits=RateLimits(requests_remaining=1, requests_reset_seconds=60.0))
        teacher.seconds = 1.0
        desks.use(teacher, many, give_up_seconds=300)
        assert teacher.calls == pytest.approx([1000.0, 1001.0, 1002.0])

    def test_a_prompt_of_more_tokens_than_are_left_waits_for_the_refill(self, desks):
        teacher = desks.scripted(limits=RateLimits(tokens_remaining=50, tokens_reset_seconds=7.0))

        async def two(desk: TeacherDesk):
            await ask(desk, "first")
            await ask(desk, "short")
            await ask(desk, "long " * 100)

        desks.use(teacher, two)
        assert teacher.calls == pytest.approx([1000.0, 1000.0, 1007.0])

    def test_a_limit_that_asks_for_a_long_wait_is_told_to_the_caller(self, desks):
        teacher = desks.scripted(limits=RateLimits(requests_remaining=0, requests_reset_seconds=3600.0))

        async def two(desk: TeacherDesk):
            await ask(desk, "first")
            with pytest.raises(TeacherUnavailableError) as caught:
                await ask(desk, "second")
            return caught.value, asyncio.get_running_loop().time(), desk.spent(F)

        error, at, spent = desks.use(teacher, two)
        assert error.retry_after_seconds == pytest.approx(3600.0)
        assert at == 1000.0
        assert spent.open_reservations == 0


class TestFailures:
    def test_a_short_outage_is_sat_out(self, desks):
        teacher = desks.scripted(*[TeacherUnavailableError("500")] * 4)
        assert desks.use(teacher, ask).text == "answer to hello"
        assert len(teacher.calls) == 5

    def test_waits_double_with_jitter_and_are_the_same_for_the_same_seed(self, desks):
        def gaps(seed: int) -> list[float]:
            teacher = desks.scripted(*[TeacherUnavailableError("500")] * 5)
            desks.use(teacher, lambda desk: ask(desk, f"{seed}", fresh=True), seed=seed)
            return [after - before for before, after in zip(teacher.calls, teacher.calls[1:], strict=False)]

        once, again, other = gaps(1), gaps(1), gaps(2)
        assert once == again != other
        for gap, most in zip(once, [0.25, 0.5, 1.0, 2.0, 4.0], strict=True):
            assert most / 2 <= gap <= most

    def test_the_caller_learns_of_an_outage_after_the_last_attempt_and_may_ask_again(self, desks):
        teacher = desks.scripted(*[TeacherUnavailableError("500")] * 3)

        async def outage(desk: TeacherDesk):
            with pytest.raises(TeacherUnavailableError):
                await ask(desk)
            between = desk.spent(F)
            return between, await ask(desk)

        between, answer = desks.use(teacher, outage, attempts=3)
        assert (between.calls, between.open_reservations) == (0, 0)
        assert answer.text == "answer to hello"

    def test_an_outage_is_given_up_after_its_time(self, desks):
        teacher = desks.scripted(*[TeacherUnavailableError("500")] * 100, seconds=4.0)

        async def outage(desk: TeacherDesk):
            with pytest.raises(TeacherUnavailableError):
                await ask(desk)
            return asyncio.get_running_loop().time()

        assert desks.use(teacher, outage, attempts=100, give_up_seconds=20.0) <= 1024.0
        assert 3 <= len(teacher.calls) <= 5

    def test_a_wait_longer_than_the_patience_is_passed_on_at_once(self, desks):
        teacher = desks.scripted(TeacherUnavailableError("429", retry_after_seconds=120.0))

        async def outage(desk: TeacherDesk):
            with pytest.raises(TeacherUnavailableError) as caught:
                await ask(desk)
            return caught.value.retry_after_seconds, asyncio.get_running_loop().time()

        assert desks.use(teacher, outage) == (120.0, 1000.0)

    def test_other_asks_go_on_while_one_backs_off(self, desks):
        teacher = desks.scripted(TeacherUnavailableError("500"))

        async def two(desk: TeacherDesk):
            await asyncio.gather(ask(desk, "unlucky"), ask(desk, "lucky"))

        desks.use(teacher, two, concurrency=1)
        assert teacher.asked == ["unlucky", "lucky", "unlucky"]

    @pytest.mark.parametrize(
        ("error", "calls", "tokens"),
        [
            (RefusedError("no", billed=Usage(7, 0)), 1, 7),
            (UnusableAnswerError("cut off", billed=Usage(7, 8)), 1, 15),
            (RefusedError("no"), 1, 5 + 16),
            (TeacherRejectedError("wrong key"), 0, 0),
        ],
    )
    def test_a_final_error_is_raised_at_once_paid_as_far_as_known_and_not_cached(self, desks, error, calls, tokens):
        teacher = desks.scripted(error)

        async def twice(desk: TeacherDesk):
            with pytest.raises(type(error)):
                await ask(desk)
            return desk.spent(F), await ask(desk)

        spent, answer = desks.use(teacher, twice)
        assert (spent.calls, spent.input_tokens + spent.output_tokens, spent.open_reservations) == (calls, tokens, 0)
        assert answer.text == "answer to hello"
        assert len(teacher.calls) == 2

    def test_a_call_that_may_be_billed_counts_as_lost_on_the_way(self, desks):
        teacher = desks.scripted(TeacherUnavailableError("cut", maybe_billed=True))

        async def one(desk: TeacherDesk):
            await ask(desk)
            return desk.spent(F)

        spent = desks.use(teacher, one)
        assert (spent.calls, spent.open_reservations, spent.broken_calls, spent.killed_calls) == (1, 0, 1, 0)
        assert spent.lost_tokens == 5 + 16 + 8

    def test_calls_that_may_be_billed_are_repeated_less_often(self, desks):
        teacher = desks.scripted(*[TeacherUnavailableError("cut", maybe_billed=True)] * 6)

        async def one(desk: TeacherDesk):
            with pytest.raises(TeacherUnavailableError):
                await ask(desk)

        desks.use(teacher, one)
        assert len(teacher.calls) == 2


class TestCancellation:
    def test_a_follower_gets_the_answer_though_the_first_asker_went_away(self, desks):
        teacher = desks.scripted(seconds=1.0)

        async def leave(desk: TeacherDesk):
            first = asyncio.create_task(ask(desk))
            follower = asyncio.create_task(ask(desk))
            await asyncio.sleep(0.5)
            first.cancel()
            return await follower

        assert desks.use(teacher, leave).text == "answer to hello"
        assert teacher.cancelled == 0

    def test_a_call_that_has_left_is_stored_though_nobody_waits_any_more(self, desks):
        teacher = desks.scripted(seconds=1.0)

        async def leave(desk: TeacherDesk):
            tasks = [asyncio.create_task(ask(desk)) for _ in range(3)]
            await asyncio.sleep(0.5)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(1.0)
            return desk.spent(F), await ask(desk)

        spent, answer = desks.use(teacher, leave)
        assert (teacher.cancelled, len(teacher.calls)) == (0, 1)
        assert (spent.calls, spent.open_reservations) == (1, 0)
        assert answer.cached

    def test_a_failed_call_is_not_repeated_when_nobody_waits_any_more(self, desks):
        teacher = desks.scripted(TeacherUnavailableError("500"), seconds=1.0)

        async def leave(desk: TeacherDesk):
            task = asyncio.create_task(ask(desk))
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.sleep(60.0)
            return desk.spent(F)

        assert desks.use(teacher, leave).open_reservations == 0
        assert len(teacher.calls) == 1

    def test_an_asker_who_waits_for_a_slot_leaves_nothing_behind(self, desks):
        teacher = desks.scripted(seconds=1.0)

        async def leave(desk: TeacherDesk):
            first = asyncio.create_task(ask(desk, "first"))
            second = asyncio.create_task(ask(desk, "second"))
            await asyncio.sleep(0.5)
            second.cancel()
            await first
            return desk.spent(F)

        spent = desks.use(teacher, leave, concurrency=1)
        assert (spent.calls, spent.open_reservations) == (1, 0)
        assert teacher.asked == ["first"]

    def test_closing_waits_for_calls_that_have_left_and_sends_no_other(self, desks):
        teacher = desks.scripted(seconds=3.0)

        async def close(desk: TeacherDesk):
            tasks = [asyncio.create_task(ask(desk, str(number))) for number in range(4)]
            await asyncio.sleep(1.0)
            await desk.close(grace_seconds=5.0)
            return await asyncio.gather(*tasks, return_exceptions=True)

        outcomes = desks.use(teacher, close, concurrency=2)
        assert [type(one).__name__ for one in outcomes] == ["DeskAnswer"] * 2 + ["CancelledError"] * 2
        assert teacher.asked == ["0", "1"]

        async def again(desk: TeacherDesk):
            return (await ask(desk, "0")).cached, desk.spent(F)

        known, spent = desks.use(teacher, again)
        assert known
        assert (spent.calls, spent.open_reservations) == (2, 0)

    def test_what_does_not_arrive_in_the_grace_is_lost_once_it_has_expired(self, desks):
        teacher = desks.scripted(seconds=100.0)

        async def close(desk: TeacherDesk):
            task = asyncio.create_task(ask(desk))
            await asyncio.sleep(1.0)
            await desk.close(grace_seconds=5.0)
            await asyncio.gather(task, return_exceptions=True)

        desks.use(teacher, close)

        async def after(desk: TeacherDesk):
            await desk.reconcile()
            first = desk.spent(F)
            await asyncio.sleep(301.0)
            await desk.reconcile()
            return first, desk.spent(F)

        first, later = desks.use(teacher, after)
        assert (first.open_reservations, first.killed_calls) == (1, 0)
        assert (later.open_reservations, later.killed_calls, later.lost_tokens) == (0, 1, 5 + 16 + 8)

    def test_an_answer_that_comes_after_its_reservation_expired_is_charged_and_no_longer_lost(self, desks):
        teacher = desks.scripted(seconds=50.0)

        async def late(desk: TeacherDesk):
            task = asyncio.create_task(ask(desk))
            await asyncio.sleep(40.0)
            await desk.reconcile()
            between = desk.spent(F)
            await task
            return between, desk.spent(F)

        between, after = desks.use(teacher, late, reservation_seconds=30.0)
        assert (between.killed_calls, between.lost_tokens) == (1, 29)
        assert (after.calls, after.killed_calls, after.lost_tokens, after.open_reservations) == (1, 0, 0, 0)
        assert (after.input_tokens, after.output_tokens) == (10, 5)

    def test_closing_ends_the_calls_the_teacher_and_the_store(self, desks):
        teacher = desks.scripted(seconds=100.0)

        async def close(desk: TeacherDesk):
            task = asyncio.create_task(ask(desk))
            await asyncio.sleep(1.0)
            await desk.close()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(RuntimeError, match="closed"):
                await ask(desk, "later", fresh=True)

        desks.use(teacher, close)
        assert teacher.closed
