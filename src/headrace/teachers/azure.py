"""Azure OpenAI: OpenAI's protocol behind a deployment's own address and an `api-key` header."""

import openai

from headrace.teachers.chat_completions import ChatRequest
from headrace.teachers.openai import ChatTeacher
from headrace.teachers.teacher import TeacherOptions
from headrace.teachers.templates import AzureOpenAITemplate, canonical_endpoint, read_template
from headrace.teachers.transport import call_timeout


def open_teacher(options: TeacherOptions) -> ChatTeacher:
    """A teacher for `modelProvider: AzureOpenAI`; the deployment is its model."""
    template = read_template(options, AzureOpenAITemplate)
    key = template.apikey.get_secret_value()
    client = openai.AsyncAzureOpenAI(
        api_key=key,
        azure_endpoint=template.endpoint,
        api_version=template.api_version,
        max_retries=0,
        timeout=call_timeout(options.timeout_seconds),
    )
    identity = {
        "endpoint": canonical_endpoint(template.endpoint),
        "model": template.deployment,
        "apiVersion": template.api_version,
    }
    return ChatTeacher(client, ChatRequest(template.deployment), identity, key, options)
