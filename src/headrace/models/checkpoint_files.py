"""The files in a model folder besides its weights."""

import shutil
from pathlib import Path

from headrace.models.chat_template import FALLBACK, FILE, read_template
from headrace.models.json_file import read_json_object

WEIGHTS = "model.safetensors"
_SIDE_SUFFIXES = (".json", ".jinja", ".txt", ".model", ".md")
_NOT_COPIED = ("model.safetensors.index.json", "trainer_state.json", "headrace-manifest.json")


def copy_side_files(source: Path, target: Path) -> None:
    """Copies config, tokenizer, licence and template; writes Headrace's own template if the source has none."""
    for file in sorted(source.iterdir()):
        wanted = file.suffix in _SIDE_SUFFIXES or file.name.upper().startswith(("LICENSE", "NOTICE"))
        if file.is_file() and wanted and file.name not in _NOT_COPIED:
            shutil.copyfile(file, target / file.name)
    if not (target / FILE).exists():
        own = read_template(source, read_json_object(source / "tokenizer_config.json"))
        (target / FILE).write_text(own or FALLBACK, encoding="utf-8")
