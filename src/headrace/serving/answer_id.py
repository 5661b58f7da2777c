"""Ids of answers. They name the namespace, so that no other namespace is searched for an answer."""

import uuid


def new_answer_id(prefix: str, namespace: str) -> str:
    """`PREFIX` + 32 hexadecimal digits + `.NAMESPACE`. Drawn: an answer is made once and never replayed."""
    return f"{prefix}{uuid.uuid4().hex}.{namespace}"


def choice_id(answer_id: str, index: int) -> str:
    """The first choice has the answer's own id; the others append their number."""
    return answer_id if index == 0 else f"{answer_id}.{index}"


def namespace_of(answer_id: str) -> str:
    """The namespace that an answer's or a choice's id names; '': none."""
    return next(iter(answer_id.split(".")[1:2]), "")
