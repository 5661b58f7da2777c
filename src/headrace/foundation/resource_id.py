"""The one key of a declared thing, from YAML to metric."""

from dataclasses import dataclass

from headrace.foundation.errors import CorruptDataError

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, order=True)
class ResourceId:
    """Kind, namespace and name. Its text is `Kind/namespace/name`."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "ResourceId":
        """Reads `Kind/namespace/name`. CorruptDataError where it is something else."""
        parts = text.split("/")
        if len(parts) != 3 or not all(parts):
            raise CorruptDataError(f"{text!r} is not a resource id", next_step="write Kind/namespace/name")
        return cls(*parts)

    @property
    def full_name(self) -> str:
        """`namespace/name`: how people and models name it where the kind is known."""
        return f"{self.namespace}/{self.name}"

    @property
    def short_name(self) -> str:
        """The name alone in the default namespace, else `namespace/name`: what people read."""
        return self.name if self.namespace == DEFAULT_NAMESPACE else self.full_name

    @property
    def path_name(self) -> str:
        """`namespace.name`: in topics, groups, files and leases. Names hold no dots, so it is unambiguous within a kind."""
        return f"{self.namespace}.{self.name}"

    def sibling(self, kind: str, name: str) -> "ResourceId":
        """Another resource of the same namespace."""
        return ResourceId(kind, self.namespace, name)
