"""Answer ids. They contain the namespace, so that no other namespace is searched for an answer."""

import uuid


def new_answer_id(prefix: str, namespace: str) -> str:
    """`PREFIX` + 32 hexadecimal digits + `.NAMESPACE`. Random: an answer is given once and never replayed."""
    return f"{prefix}{uuid.uuid4().hex}.{namespace}"


def choice_id(answer_id: str, index: int) -> str:
    """The first choice has the answer's id; the others append their number."""
    return answer_id if index == 0 else f"{answer_id}.{index}"


def namespace_of(answer_id: str) -> str:
    """The namespace in an answer's or a choice's id; '': none."""
    return next(iter(answer_id.split(".")[1:2]), "")
