"""What changing a MegaModel does: answers that are committed stay, and another teacher has a cache of its own."""

from headrace.kinds.verdict import AT_ONCE, NEXT_RECORD, Verdict

_ASKS = NEXT_RECORD.saying(
    "Waiting prompts are asked with it, without the previous one's cached answers. Committed examples keep their answers; "
    "to ask again, run `headrace reset --from labels`."
)
_TEMPLATE: dict[str, Verdict] = {
    f"modelTemplate.{block}.{key}": verdict
    for block in ("openAI", "azureOpenAI", "anthropic", "gemini")
    for key, verdict in (
        ("apikey", AT_ONCE),
        ("endpoint", _ASKS),
        ("deployment" if block == "azureOpenAI" else "model", _ASKS),
    )
}
VERDICTS: dict[str, Verdict] = {
    "modelProvider": _ASKS,
    **_TEMPLATE,
    "modelTemplate.azureOpenAI.apiVersion": _ASKS,
    "timeout": AT_ONCE,
    "price.inputPerMillion": AT_ONCE,
    "price.outputPerMillion": AT_ONCE,
}
