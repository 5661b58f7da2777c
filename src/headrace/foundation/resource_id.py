"""The single key of a declared resource, from YAML to metric."""

from dataclasses import dataclass

from headrace.foundation.errors import CorruptDataError

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, order=True)
class ResourceId:
    """Kind, namespace and name. Written as `Kind/namespace/name`."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "ResourceId":
        """Parses `Kind/namespace/name`. CorruptDataError for anything else."""
        parts = text.split("/")
        if len(parts) != 3 or not all(parts):
            raise CorruptDataError(f"{text!r} is not a resource id", next_step="write Kind/namespace/name")
        return cls(*parts)

    @property
    def full_name(self) -> str:
        """`namespace/name`: used by people and models where the kind is known."""
        return f"{self.namespace}/{self.name}"

    @property
    def short_name(self) -> str:
        """The name alone in the default namespace, otherwise `namespace/name`: for display."""
        return self.name if self.namespace == DEFAULT_NAMESPACE else self.full_name

    @property
    def path_name(self) -> str:
        """`namespace.name`: used in topics, groups, files and leases. Names contain no dots, so it is unambiguous within a kind."""
        return f"{self.namespace}.{self.name}"

    def sibling(self, kind: str, name: str) -> "ResourceId":
        """A resource of another kind or name in the same namespace."""
        return ResourceId(kind, self.namespace, name)
