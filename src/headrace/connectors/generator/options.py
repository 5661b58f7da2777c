"""The `generator:` block of a StreamConnector."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from headrace.foundation.quantities import parse_duration_ms

_CONFIG = ConfigDict(
    alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
)


def _duration(text: str) -> str:
    parse_duration_ms(text)
    return text


def _instant(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset; write an ISO timestamp such as 2024-01-01T00:00:00Z")
    return text


class SequenceField(BaseModel):
    """start, start + step, …: BIGINT."""

    model_config = _CONFIG

    name: str = Field(min_length=1)
    """The column."""
    kind: Literal["sequence"]
    """Counts the rows."""
    start: int = 0
    """The first row's value."""
    step: int = 1
    """From one row to the next."""


class UniformField(BaseModel):
    """Evenly spread between low and high: DOUBLE, or BIGINT where `whole`."""

    model_config = _CONFIG

    name: str = Field(min_length=1)
    """The column."""
    kind: Literal["uniform"]
    """Drawn evenly."""
    low: float = 0.0
    """Smallest value."""
    high: float = 1.0
    """Values stay below it (whole numbers reach it)."""
    whole: bool = False
    """Whole numbers from low to high, both included."""

    @model_validator(mode="after")
    def _ordered(self) -> "UniformField":
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


class NormalField(BaseModel):
    """Spread as the bell curve: DOUBLE."""

    model_config = _CONFIG

    name: str = Field(min_length=1)
    """The column."""
    kind: Literal["normal"]
    """Drawn from the normal distribution."""
    mean: float = 0.0
    """Its mean."""
    deviation: float = Field(default=1.0, ge=0)
    """Its standard deviation."""


class ChoiceField(BaseModel):
    """One of several texts: STRING."""

    model_config = _CONFIG

    name: str = Field(min_length=1)
    """The column."""
    kind: Literal["choice"]
    """Drawn from a list."""
    values: list[str] = Field(min_length=1)
    """What there is to choose from."""
    weights: list[float] = []
    """How often each, relative to the others; left out: equally often."""

    @model_validator(mode="after")
    def _weighted(self) -> "ChoiceField":
        if self.weights and (len(self.weights) != len(self.values) or min(self.weights) < 0 or sum(self.weights) <= 0):
            raise ValueError("weights must match values in number, be at least 0, and not all be 0")
        return self


class WalkField(BaseModel):
    """A random walk: DOUBLE."""

    model_config = _CONFIG

    name: str = Field(min_length=1)
    """The column."""
    kind: Literal["walk"]
    """Each row a normally distributed step away from the one before."""
    start: float = 0.0
    """The first row's value."""
    step: float = Field(default=1.0, ge=0)
    """Standard deviation of a step."""


class TimestampField(BaseModel):
    """start, start + interval, …: TIMESTAMP_LTZ(3)."""

    model_config = _CONFIG

    name: str = Field(min_length=1)
    """The column."""
    kind: Literal["timestamp"]
    """Counts time."""
    start: Annotated[str, AfterValidator(_instant)] = "2024-01-01T00:00:00Z"
    """The first row's instant, ISO-8601 with an offset."""
    interval: Annotated[str, AfterValidator(_duration)] = "1s"
    """From one row to the next."""
    disorder: Annotated[str, AfterValidator(_duration)] = "0s"
    """A row may lie up to so much earlier than its turn."""


GeneratedField = Annotated[
    SequenceField | UniformField | NormalField | ChoiceField | WalkField | TimestampField, Field(discriminator="kind")
]


class Options(BaseModel):
    """Made-up events."""

    model_config = _CONFIG

    seed: int = Field(default=0, ge=0)
    """The same seed gives the same rows."""
    rate: float = Field(default=0.0, ge=0)
    """Rows a second; 0: as fast as they are taken."""
    count: int = Field(default=0, ge=0)
    """How many rows there are; 0: no end."""
    fields: list[GeneratedField] = Field(min_length=1)
    """The columns, in order."""

    @model_validator(mode="after")
    def _distinct(self) -> "Options":
        names = [field.name for field in self.fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two fields are named {twice[0]!r}")
        return self
