"""Settings of the suite's property tests: the same examples in every run, and none saved on disk."""

from hypothesis import HealthCheck, Phase, settings

RELAXED = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # shrinking asks a server thousands of times before it tells
    suppress_health_check=[
        HealthCheck.differing_executors,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)
