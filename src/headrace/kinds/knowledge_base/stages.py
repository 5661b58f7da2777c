"""A KnowledgeBase → nothing yet: what that means for whoever names one."""

from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec

NOT_INDEXED = "knowledge is not indexed yet in this version"


def asks_for_knowledge(spec: StreamFinetunerSpec) -> bool:
    """Whether `{knowledge}` stands in a prompt."""
    return any("{knowledge}" in text for entry in spec.prompt_template for text in (entry.user_question, entry.system_context or ""))  # fmt: skip


def knowledge_problem(spec: StreamFinetunerSpec) -> str | None:
    """Why a finetuner cannot run: its prompts would have a hole where the passages belong."""
    name = spec.finetuner_info.knowledge_base
    if name is None or not asks_for_knowledge(spec):
        return None
    return f"KnowledgeBase/{name}: {NOT_INDEXED}, so {{knowledge}} in the prompts would be empty — Take {{knowledge}} out of promptTemplate to run without it."
