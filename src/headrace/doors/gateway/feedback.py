"""`POST /v1/feedback`: feedback on an answer, by the answer's id."""

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, model_validator

from headrace.events.answer import Feedback
from headrace.foundation.errors import NotFoundError
from headrace.serving.version_source import FeedbackSink

CORRECTION = "stored; corrections are not used for training yet"
"""What the response says about a correction."""


class FeedbackBody(BaseModel):
    """At least one of rating, correction and comment."""

    model_config = ConfigDict(extra="forbid")

    answer_id: str = Field(min_length=1, max_length=200)
    """As in the header `x-headrace-answer-id`."""
    rating: float | None = Field(default=None, ge=-1, le=1)
    """−1 bad, 1 good."""
    correction: str | None = Field(default=None, max_length=100_000)
    """What the answer should have been. Stored, but not used for training yet."""
    comment: str = Field(default="", max_length=100_000)

    @model_validator(mode="after")
    def _says_something(self) -> "FeedbackBody":
        if self.rating is None and self.correction is None and not self.comment:
            raise ValueError("send a rating, a correction or a comment")
        return self


def routes(sink: FeedbackSink) -> APIRouter:
    """The door over a sink."""
    router = APIRouter(prefix="/v1", tags=["feedback"])

    @router.post("/feedback", status_code=202)
    async def give(body: FeedbackBody) -> dict[str, str]:
        """Records feedback; durable when this returns. A correction is stored but not used for training yet."""
        try:
            await sink.give(Feedback(body.answer_id, body.rating, body.correction, body.comment))
        except NotFoundError as error:
            raise HTTPException(404, str(error)) from error
        taken = {"status": "accepted", "answer_id": body.answer_id}
        return taken if body.correction is None else {**taken, "correction": CORRECTION}

    return router
