"""Any sequence of calls gives what a plain object in memory gives."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from headrace.foundation.errors import HeadraceError
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, CommitResult, GroupOffset, Lease, StateKey, TopicLog, TopicSpec
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
                st.lists(st.sampled_from(["commit"] * 6 + ["reopen", "lease", "unique", "delete"]), max_size=12)
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
                elif step == "delete":
                    log.delete_topic("t1")
                    model.delete_topic("t1")
                    log.ensure_topic(TopicSpec("t1"))
                    model.ensure_topic("t1", unique_ids=False)
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
        st.just(()) | st.lists(topics, max_size=1),
        st.just(()) | st.just(["o"]),
    )


def _same_outcome(log: TopicLog, model: LogModel, commit: Commit, now_ms: int) -> None:
    try:
        expected = model.commit(commit, now_ms)
    except HeadraceError as error:
        with pytest.raises(type(error)):
            log.commit(commit)
    else:
        result = log.commit(commit)
        if not log.capabilities.dense_offsets:
            expected = replace(expected, first_offsets=_places(model.topic, expected))
            result = replace(result, first_offsets=_places(lambda topic: read_all(log, topic), result))
        assert result == expected


def _places(read: Callable[[str], list[Record]], result: CommitResult) -> dict[str, int]:
    """How many records lie before each first offset: offsets need not be dense."""
    return {
        topic: sum(record.offset < first for record in read(topic)) for topic, first in result.first_offsets.items()
    }


def _same_contents(log: TopicLog, model: LogModel) -> None:
    for topic in ("t0", "t1"):
        found = read_all(log, topic)
        expected = model.topic(topic)
        if not log.capabilities.dense_offsets:
            found, expected = _numbered(found), _numbered(expected)
        assert found == expected
        assert log.topic(topic).bytes in (sum(len(record.value) for record in model.topic(topic)), None)
        for group in "gh":
            assert log.offset(group, topic) == model.offset(group, topic)
    for prefix in ("", "a"):
        assert log.state("o", prefix) == model.state("o", prefix)


def _numbered(records: list[Record]) -> list[Record]:
    return [structs.replace(record, offset=place) for place, record in enumerate(records)]
