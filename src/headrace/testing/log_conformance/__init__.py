"""What every log must do. A back end's test module inherits `LogConformance` and names its technology.

```python
class TestSqlite(LogConformance):
    technology = "sqlite"
```

The back end is opened by its entry point, here and in child processes. What only the back end knows is a hook: `disk_usage`
and `full_disk`.
"""

from headrace.testing.log_conformance.commits import CommitConformance
from headrace.testing.log_conformance.forgetting import (
    CompactionConformance,
    DeletingConformance,
    RedactionConformance,
    ResettingConformance,
)
from headrace.testing.log_conformance.processes import ProcessConformance
from headrace.testing.log_conformance.retention import RetentionConformance
from headrace.testing.log_conformance.sequences import SequenceConformance
from headrace.testing.log_conformance.topics import TopicConformance
from headrace.testing.log_conformance.waiting import WaitingConformance

__all__ = ["LogConformance"]


class LogConformance(
    TopicConformance,
    CommitConformance,
    WaitingConformance,
    RetentionConformance,
    DeletingConformance,
    ResettingConformance,
    CompactionConformance,
    RedactionConformance,
    ProcessConformance,
    SequenceConformance,
):
    """Inherit it; set `technology`; override the hooks."""
