"""What an EmbeddingModel's fields must be together."""

from collections.abc import Iterator

from headrace.kinds.base_model.checks import check_resources, check_serving_info
from headrace.kinds.kind import Draft, World
from headrace.kinds.problem import Problem

_BLOCK = "embeddingModelServingInfo"
_OF_SERVICES = ("url", "apikey", "model", "dimension")


def check(draft: Draft, _world: World) -> Iterator[Problem]:
    """The vectors come from somewhere, and requests are within limits."""
    if draft.text(_BLOCK, "modelProvider") == "OPENAI":
        yield from _service(draft)
    else:
        yield from check_serving_info(draft, _BLOCK)
        for key in _OF_SERVICES:
            if draft.given(_BLOCK, key) is not None:
                yield Problem(
                    (_BLOCK, key),
                    "applies only to a service",
                    hint="Set modelProvider: OPENAI, or remove this field.",
                    of_key=True,
                )
    yield from check_resources(draft, "embeddingModelServingTemplate")


def _service(draft: Draft) -> Iterator[Problem]:
    url = draft.text(_BLOCK, "url")
    if url is None:
        yield Problem(
            (_BLOCK,),
            "names no service",
            ("url",),
            hint="Set its URL, such as https://api.openai.com/v1.",
            of_key=True,
        )
    elif not url.startswith(("http://", "https://")):
        yield Problem((_BLOCK, "url"), f"{url!r} is not a URL", hint="Use a URL that starts with http:// or https://.")
    for key in ("hfModelId", "path"):
        if draft.given(_BLOCK, key) is not None:
            yield Problem(
                (_BLOCK, key), "local weights and a service are mutually exclusive", hint="Keep one.", of_key=True
            )
