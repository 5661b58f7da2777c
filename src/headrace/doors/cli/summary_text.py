"""The summary of a run as text."""

from typing import Any

DOCUMENTS_AT_MOST = 10
"""Changed documents to list individually."""


def summary_text(summary: dict[str, Any]) -> str:
    """Sentences over the figures of `headrace.control.summary.summary`."""
    lines: list[str] = []
    for name, source in summary["streamConnectors"].items():
        lines.append(f"{name}: {source['rows']} events read, {source['deadLetters']} dead letters.")
    for name, one in summary["streamFinetuners"].items():
        match = one["exactMatch"]
        lines += [
            f"{name}: {one['rows']} rows became {one['examples']} examples ({one['deadLetters']} dead letters, {one['lateRows']} late rows).",
            f"  exact match before learning: first 500 {_share(match['first500'])}, last 500 {_share(match['last500'])}"
            f" (served version {_share(match['served500'])}; most frequent answer {_share(match['majority500'])}).",
            f"  {len(one['drifts'])} drifts, {len(one['promotions'])} promotions, {one['rejections']} candidates rejected;"
            f" {one['servedVersion']} is served.",
        ]
        lines += [
            f"    example {d['last_offset']}: {d['kind'].replace('_', ' ')} {d['subject']}: {d['reason']}"
            for d in sorted(
                [*one["promotions"], *one["drifts"], *one["documents"][:DOCUMENTS_AT_MOST]],
                key=lambda d: d["last_offset"],
            )
        ]
    lines += [
        f"{one['kind']}/{one['namespace']}/{one['name']} is not ready ({one['reason']}): {one['message']}"
        for one in summary["notReady"]
    ]
    lines += [f"{c['resource']} {c['type']}: {c['reason']} {c['message']}" for c in summary["conditions"]]
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
