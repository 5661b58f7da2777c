"""What a MegaModel declares; `models.py` adds the providers' own blocks."""

from headrace.kinds.fields import NonNegative, PositiveDurationMs, Text
from headrace.kinds.spec_model import SpecModel


class Price(SpecModel):
    """What tokens cost, in US dollars."""

    input_per_million: NonNegative = 0.0
    """Price of a million prompt tokens."""
    output_per_million: NonNegative = 0.0
    """Price of a million answer tokens."""


class MegaModelSpec(SpecModel):
    """The large teacher that writes grounded answers."""

    model_provider: Text
    """Who provides the model."""
    timeout: PositiveDurationMs = 60_000
    """Timeout of one call."""
    price: Price = Price()
    """What tokens cost, for budgets and reports."""
