"""Any sequence of calls gives what a plain object in memory gives."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from headrace.foundation.errors import HeadraceError
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, GroupOffset, Lease, StateKey, TopicLog, TopicSpec
from headrace.testing.builders import read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.log_conformance.log_model import LogModel
from headrace.testing.log_conformance.place import LogPlace

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


class SequenceConformance(LogPlace):
    sequences: ClassVar[int] = 25
    """How many are tried."""

    def test_it_behaves_like_a_plain_object_in_memory(self) -> None:
        settings(
            max_examples=self.sequences,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )(given(st.data())(self._check))()

    def _check(self, data: st.DataObject) -> None:
        clock, model = VirtualClock(), LogModel()
        leases = [model.acquire_lease("role", "h")]
        with tempfile.TemporaryDirectory() as folder:
            log = self.open_at(Path(folder), clock)
            log.acquire_lease("role", "h")
            for name in ("t0", "t1"):
                log.ensure_topic(TopicSpec(name))
                model.ensure_topic(name, unique_ids=False)
            for step in data.draw(
                st.lists(st.sampled_from(["commit"] * 6 + ["reopen", "lease", "unique"]), max_size=12)
            ):
                clock.advance(1)
                if step == "commit":
                    _same_outcome(log, model, data.draw(_commits(leases)), clock.now_ms())
                elif step == "lease":
                    leases.append(model.acquire_lease("role", "h"))
                    assert log.acquire_lease("role", "h") == leases[-1]
                elif step == "unique":
                    unique = data.draw(st.booleans())
                    log.ensure_topic(TopicSpec("t1", unique_ids=unique))
                    model.ensure_topic("t1", unique_ids=unique)
                else:
                    log.close()
                    log = self.open_at(Path(folder), clock)
                _same_contents(log, model)
            log.close()


def _commits(leases: list[Lease]) -> st.SearchStrategy[Commit]:
    topics, keys = st.sampled_from(["t0", "t0", "t1", "t1", "none"]), st.sampled_from(["", "a", "ab", "b"])
    state_keys = keys.map(lambda key: StateKey("o", key))
    record = st.builds(
        NewRecord,
        st.sampled_from("abcdef"),
        _TEXT,
        st.binary(max_size=5),
        st.integers(-9, 9),
        _TEXT,
        _TEXT,
        st.integers(0, 2),
    )
    return st.builds(
        Commit,
        st.lists(st.builds(Append, topics, st.lists(record, max_size=4)), max_size=3),
        st.lists(
            st.builds(GroupOffset, st.sampled_from("gh"), st.sampled_from(["t0", "t1"]), st.integers(0, 9)), max_size=2
        ),
        st.dictionaries(state_keys, st.none() | st.binary(max_size=3), max_size=2),
        st.dictionaries(state_keys, st.integers(0, 2), max_size=1),
        st.none() | st.sampled_from(leases),
    )


def _same_outcome(log: TopicLog, model: LogModel, commit: Commit, now_ms: int) -> None:
    try:
        expected = model.commit(commit, now_ms)
    except HeadraceError as error:
        with pytest.raises(type(error)):
            log.commit(commit)
    else:
        result = log.commit(commit)
        firsts = {topic: _place(log, topic, offset) for topic, offset in result.first_offsets.items()}
        assert replace(result, first_offsets=firsts) == expected


def _place(log: TopicLog, topic: str, offset: int) -> int:
    """How many records lie before an offset: offsets need not be dense."""
    return sum(record.offset < offset for record in read_all(log, topic))


def _same_contents(log: TopicLog, model: LogModel) -> None:
    for topic in ("t0", "t1"):
        found = read_all(log, topic)
        assert [structs.replace(record, offset=place) for place, record in enumerate(found)] == model.topic(topic)
        assert log.topic(topic).bytes in (sum(len(record.value) for record in model.topic(topic)), None)
        assert not log.capabilities.dense_offsets or [one.offset for one in found] == list(range(len(found)))
        for group in "gh":
            assert log.offset(group, topic) == model.offset(group, topic)
    for prefix in ("", "a"):
        assert log.state("o", prefix) == model.state("o", prefix)
