"""How a search result is printed."""

from typing import Any

from headrace.knowledge.query import Hit

_WIDTH = 100


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit with the reasons for its rank."""
    told: dict[str, Any] = {
        "id": hit.document,
        "score": round(hit.score, 6),
        "text": hit.text,
        "version": hit.version,
        "chunk": hit.chunk,
        "title": hit.title,
        "headings": list(hit.headings),
        "metadata": dict(hit.metadata),
    }
    why = {
        "vectorRank": hit.vector_rank,
        "vectorScore": hit.vector_score,
        "keywordRank": hit.keyword_rank,
        "keywordScore": hit.keyword_score,
    }
    told["why"] = {key: round(value, 6) for key, value in why.items() if value is not None}
    return told


def hit_row(rank: int, hit: Hit) -> dict[str, Any]:
    """One line for people."""
    text = " ".join(hit.text.split())
    return {
        "rank": rank,
        "score": hit.score,
        "why": why(hit),
        "document": f"{hit.document}#{hit.chunk}",
        "version": hit.version,
        "text": text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…",
    }


def why(hit: Hit) -> str:
    """`meaning 1 (0.71), words 3 (8.2)`."""
    reasons: list[str] = []
    if hit.vector_rank is not None:
        reasons.append(f"meaning {hit.vector_rank} ({hit.vector_score or 0.0:.2f})")
    if hit.keyword_rank is not None:
        reasons.append(f"words {hit.keyword_rank} ({hit.keyword_score or 0.0:.1f})")
    return ", ".join(reasons)
