"""Every learner passes the port's suite: torch with all weights, torch with LoRA, and the light one."""

from headrace.learning.learner import Learner, LearnerOptions
from headrace.testing.lazy import Lazy
from headrace.testing.learner_conformance import LearnerConformance
from headrace.testing.light_learner import open_light_learner


class TestTorchLearner(LearnerConformance):
    def open(self, options: LearnerOptions) -> Learner:
        return Lazy("headrace.learning.torch").open_learner(options)


class TestLightLearner(LearnerConformance):
    def open(self, options: LearnerOptions) -> Learner:
        return open_light_learner(options)
