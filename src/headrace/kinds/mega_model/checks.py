"""What a MegaModel's fields must be together."""

from collections.abc import Iterator

from headrace.kinds.kind import Draft, World
from headrace.kinds.mega_model.models import block_key, providers
from headrace.kinds.problem import Problem


def check(draft: Draft, _world: World) -> Iterator[Problem]:
    """The block is the provider's own; addresses are addresses."""
    provider, template = draft.text("modelProvider"), draft.given("modelTemplate")
    if not isinstance(template, dict):
        return
    if provider in providers():
        right = block_key(provider)
        for key in template:
            if key != right and key in {block_key(other) for other in providers()}:
                yield Problem(
                    ("modelTemplate", key), f"this block does not belong to {provider}", (right,), right, of_key=True
                )
    for key in template:
        address = draft.text("modelTemplate", key, "endpoint")
        if address and "${" not in address and not address.startswith(("http://", "https://")):
            yield Problem(
                ("modelTemplate", key, "endpoint"),
                "is not a URL",
                hint="Use a URL that starts with http:// or https://.",
            )
