"""What changing a MegaModel costs: answers are cached by model and prompt, so only another model asks again."""

from headrace.kinds.kind import Cost

COSTS: dict[str, Cost] = {
    "modelProvider": "re-label",
    "modelTemplate": "re-label",
    **{
        f"modelTemplate.{block}.{key}": "restart"
        for block in ("openAI", "azureOpenAI", "anthropic", "gemini")
        for key in ("apikey", "apiVersion", "endpoint")
    },
    "timeout": "restart",
    "price": "restart",
}
