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
    """The difference between rows."""


class UniformField(BaseModel):
    """Uniform between low and high: DOUBLE, or BIGINT if `whole`."""

    model_config = _CONFIG

    name: str = Field(min_length=1)
    """The column."""
    kind: Literal["uniform"]
    """A uniform distribution."""
    low: float = 0.0
    """Smallest value."""
    high: float = 1.0
    """Upper bound, exclusive (inclusive for whole numbers)."""
    whole: bool = False
    """Whole numbers from low to high, inclusive."""

    @model_validator(mode="after")
    def _ordered(self) -> "UniformField":
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


class NormalField(BaseModel):
    """Normally distributed: DOUBLE."""

    model_config = _CONFIG

    name: str = Field(min_length=1)
    """The column."""
    kind: Literal["normal"]
    """A normal distribution."""
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
    """A choice from a list."""
    values: list[str] = Field(min_length=1)
    """The values to choose from."""
    weights: list[float] = []
    """Relative weight of each value; default: equal."""

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
    """Each row is a normally distributed step from the previous one."""
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
    """The interval between rows."""
    disorder: Annotated[str, AfterValidator(_duration)] = "0s"
    """How much earlier than its turn a row may be."""


GeneratedField = Annotated[
    SequenceField | UniformField | NormalField | ChoiceField | WalkField | TimestampField, Field(discriminator="kind")
]


class Options(BaseModel):
    """Synthetic events."""

    model_config = _CONFIG

    seed: int = Field(default=0, ge=0)
    """The same seed gives the same rows."""
    rate: float = Field(default=0.0, ge=0)
    """Rows per second; 0: as fast as they are read."""
    count: int = Field(default=0, ge=0)
    """How many rows to generate; 0: unlimited."""
    fields: list[GeneratedField] = Field(min_length=1)
    """The columns, in order."""

    @model_validator(mode="after")
    def _distinct(self) -> "Options":
        names = [field.name for field in self.fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two fields are named {twice[0]!r}")
        return self
