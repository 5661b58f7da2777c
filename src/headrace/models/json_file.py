"""A checkpoint's JSON files, read with errors that name the file."""

import json
from pathlib import Path
from typing import Any, cast

from headrace.foundation.errors import CorruptDataError


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in the file; {} if there is no file; CorruptDataError if it is not an object."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptDataError(f"the file is not JSON: {error}", where=str(path)) from error
    if not isinstance(value, dict):
        raise CorruptDataError("the file is not a JSON object", where=str(path))
    return cast("dict[str, Any]", value)
