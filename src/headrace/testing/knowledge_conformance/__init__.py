"""What every knowledge store must do. A back end's test module inherits `KnowledgeConformance` and names its technology.

```python
class TestSqlite(KnowledgeConformance):
    technology = "sqlite"
```

The back end is opened by its entry point (or as `module:function`), here and in child processes. A back end behind a server overrides the fixture `url`.
Around the commit of `apply` it passes the failpoints `knowledge.apply.before` and `knowledge.apply.after`.
May import knowledge and testing. Never here: what only one back end does.
"""

from headrace.testing.knowledge_conformance.applying import ApplyConformance
from headrace.testing.knowledge_conformance.filtering import FilterConformance
from headrace.testing.knowledge_conformance.generations import GenerationConformance
from headrace.testing.knowledge_conformance.histories import HistoryConformance
from headrace.testing.knowledge_conformance.processes import ProcessConformance
from headrace.testing.knowledge_conformance.searching import SearchConformance
from headrace.testing.knowledge_conformance.vectors import VectorConformance
from headrace.testing.knowledge_conformance.visibility import VisibilityConformance

__all__ = ["KnowledgeConformance"]


class KnowledgeConformance(
    ApplyConformance,
    VisibilityConformance,
    SearchConformance,
    FilterConformance,
    VectorConformance,
    GenerationConformance,
    HistoryConformance,
    ProcessConformance,
):
    """Inherit it; set `technology`; override `url` where there is a server."""
