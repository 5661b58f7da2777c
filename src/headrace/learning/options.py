"""Everything declared about learning."""

from dataclasses import dataclass

from headrace.learning.anchors import AnchorOptions
from headrace.learning.learner import LearnerOptions
from headrace.learning.replay import ReplayOptions


@dataclass(frozen=True, slots=True)
class LearningOptions:
    """The options of each part."""

    learner: LearnerOptions
    input_max: int = 1024
    """Tokens of the base model; longer prompts lose passages."""
    output_max: int = 256
    replay: ReplayOptions = ReplayOptions()
    anchors: AnchorOptions = AnchorOptions()

    @property
    def round_size(self) -> int:
        """Fresh examples per round."""
        return self.learner.batch_size * self.learner.gradient_accumulation_steps
