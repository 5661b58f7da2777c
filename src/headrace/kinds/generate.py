"""Writes what is made of the kinds: `python -m headrace.kinds.generate [DOCS]`; a test holds it against what is committed."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from headrace.kinds.reference import index_page, kind_page, page_name, settings_page
from headrace.kinds.registry import KINDS
from headrace.kinds.schemas import combined_schema, kind_schema


def generated() -> Mapping[str, str]:
    """Path below `docs/` → text."""
    files = {"reference/README.md": index_page(), "reference/settings.md": settings_page()}
    for kind in KINDS.values():
        files[f"reference/{page_name(kind)}"] = kind_page(kind)
        files[f"schemas/{kind.name.lower()}.json"] = _json(kind_schema(kind))
    files["schemas/headrace.json"] = _json(combined_schema())
    return files


def _json(schema: Mapping[str, object]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(docs: Path) -> None:
    """Writes every file below `docs`."""
    for name, text in generated().items():
        path = docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs"))
