"""What changing a MegaModel costs: answers are cached by model and prompt, so only another model asks again."""

from headrace.kinds.kind import Cost

_BLOCKS = ("openAI", "azureOpenAI", "anthropic", "gemini")

COSTS: dict[str, Cost] = {
    "modelProvider": "re-label",
    "modelTemplate": "re-label",
    **{f"modelTemplate.{block}.{key}": "restart" for block in _BLOCKS for key in ("apikey", "endpoint")},
    "modelTemplate.azureOpenAI.apiVersion": "restart",
    "timeout": "restart",
    "price": "restart",
}
