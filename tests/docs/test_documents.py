"""The documents keep their word: links, files, commands, YAML, settings, figures that the code has too."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from headrace.doors import answer_metrics, knowledge, knowledge_metrics
from headrace.doors.cli import app as cli
from headrace.doors.gateway import gateway_metrics
from headrace.doors.push import PATH
from headrace.foundation import errors
from headrace.foundation.settings import KEYS, PREFIX, load_settings
from headrace.kinds.catalog import Loaded, read_text

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "headrace"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/*.md"), *(ROOT / "benchmarks").glob("*.md")]
)  # fmt: skip
FOR_PEOPLE = [path for path in DOCUMENTS if path.parent.name not in ("reference", "schemas")]
COMMANDS: Any = typer.main.get_command(cli.app)
"""A group of commands, in the version of click that Typer carries."""
FENCE = re.compile(r"^( *)```([\w-]*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w.-]+(/[\w.-]+)*/[\w.-]+\.(py|md|yaml|sql|toml|json|csv|txt|svg|lock|in)|[\w-]+(/[\w-]+)*/")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def every_document(paths: list[Path] = DOCUMENTS) -> Any:
    return pytest.mark.parametrize("path", paths, ids=name)


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language, without their indent."""
    found = FENCE.findall(path.read_text("utf-8"))
    return [
        "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))
        for indent, kind, text in found
        if kind == language
    ]


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text("utf-8"))


def inline(path: Path) -> list[str]:
    return CODE.findall(prose(path))


def words(command: str) -> Iterator[list[str]]:
    """The single commands of a line, redirections left out."""
    for part in re.split(r"&&|\|(?!\w)|;", command):
        try:
            found = shlex.split(part, comments=True)
        except ValueError:
            continue  # a quote that a pipe inside it has cut; the whole is checked where it stands in a block
        yield found[: found.index(">")] if ">" in found else found


def whole_lines(block: str) -> Iterator[str]:
    """Lines, those joined that an open double quote goes across."""
    held = ""
    for line in block.splitlines():
        held = f"{held} {line}".strip() if held else line
        if held.count('"') % 2 == 0:
            yield held
            held = ""


def commands(path: Path) -> list[list[str]]:
    """Every `headrace …` of the shell blocks, as words behind `headrace`."""
    found: list[list[str]] = []
    for block in blocks(path, "sh"):
        for line in whole_lines(re.sub(r"\\\n", " ", block)):
            if line.startswith("headrace "):
                found += [part[1:] for part in _split(line) if part[:1] == ["headrace"]]
    return found


def _split(line: str) -> list[list[str]]:
    """A line's commands; separators inside quotes stay."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word in ("&&", "|", ";"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [part[: part.index(">")] if ">" in part else part for part in parts]


def resolve(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that words lead to, and what is left of them."""
    found = COMMANDS
    rest = list(arguments)
    while hasattr(found, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in found.commands, f"headrace has no command {rest[0]!r}"
        found = found.commands[rest.pop(0)]
    return found, rest


def options(command: Any) -> set[str]:
    flags = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    return {*flags, "--help", "-h"}


def test_there_are_documents() -> None:
    here = {name(path) for path in DOCUMENTS}
    assert {
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/operations.md",
        "examples/market/README.md",
    } <= here
    assert len([command for path in DOCUMENTS for command in commands(path)]) > 30


@every_document()
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(prose(path)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(found), f"{name(found)} has no heading #{anchor}"


def anchors(path: Path) -> set[str]:
    """The headings as GitHub names them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower().replace("`", "")).strip().replace(" ", "-") for title in titles}


@every_document(FOR_PEOPLE)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    for text in inline(path):
        if (
            not FILE.fullmatch(text)
            or re.search(r"[A-Z]{2}", text)
            or text.startswith(("model/", "logs/", "knowledge/", "embedders/", "."))
        ):
            continue
        places = (path.parent / text, ROOT / text, PACKAGE / text, PACKAGE / "streams" / text)
        assert any(place.exists() for place in places), f"{text} is not there"


@every_document()
def test_every_command_of_a_block_is_one_with_its_options_and_arguments(path: Path) -> None:
    for arguments in commands(path):
        command, rest = resolve(arguments)
        command.make_context("headrace", rest)  # a usage error names what is wrong; nothing is run


@every_document()
def test_every_command_in_the_text_is_one_with_its_options(path: Path) -> None:
    for text in inline(path):
        for arguments in words(text):
            if arguments[:1] != ["headrace"] or len(arguments) < 2:
                continue
            command, rest = resolve(arguments[1:])
            given = {word for word in rest if word.startswith("--") and word != "--"}
            assert given <= options(command), f"`{text}`: {given - options(command)}"


@every_document()
def test_every_make_target_is_one(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    shell = "\n".join(blocks(path, "sh"))
    named = re.findall(r"^make ([a-z]+)", shell, re.MULTILINE)
    named += [text.split()[1] for text in inline(path) if re.match(r"make [a-z]+( |$)", text)]
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


@every_document()
def test_blocks_parse(path: Path) -> None:
    for text in blocks(path, "json"):
        for line in text.splitlines():
            json.loads(line)
    for text in blocks(path, "toml"):
        tomllib.loads(text)
    for text in blocks(path, "python"):
        compile(text, name(path), "exec")


def validated(path: Path, text: str) -> Loaded:
    folder = ROOT / "examples" / "support" if path == ROOT / "README.md" else path.parent
    return read_text(text, name(path), str(folder))


@every_document([path for path in DOCUMENTS if blocks(path, "yaml")])
def test_every_yaml_block_validates(path: Path) -> None:
    loaded = validated(path, "\n---\n".join(blocks(path, "yaml")))
    assert [str(mistake) for mistake in loaded.mistakes] == []
    assert loaded.resources


def test_the_fragments_of_getting_started_fit_where_they_belong() -> None:
    path = ROOT / "docs" / "getting-started.md"
    documents = [one for text in blocks(path, "yaml") for one in yaml.safe_load_all(text)]
    finetuner = next(one for one in documents if one["kind"] == "StreamFinetuner")
    fragments = blocks(path, "yaml-fragment")
    assert fragments
    for fragment in fragments:
        finetuner["spec"] |= yaml.safe_load(fragment)
    del finetuner["spec"]["groundTruth"]
    finetuner["spec"]["finetunerInfo"]["megaModel"] = "large"
    loaded = validated(path, yaml.safe_dump_all(documents))
    assert [str(mistake) for mistake in loaded.mistakes] == []


def test_the_readme_explains_the_demos_own_yaml() -> None:
    example = (ROOT / "examples" / "support" / "headrace.yaml").read_text("utf-8").strip()
    assert example in [text.strip() for text in blocks(ROOT / "README.md", "yaml")], (
        "examples/support/headrace.yaml and the block in README.md differ: put the one into the other"
    )


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    missing = [command for command in COMMANDS.commands if f"headrace {command}" not in text]
    assert missing == []


def test_decisions_are_numbered_once_and_say_what_was_decided() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert len(pages) > 10
    assert len(set(numbers)) == len(numbers)
    for page in pages:
        text = page.read_text("utf-8")
        assert text.startswith(f"# {page.name[:4]} "), page.name
        assert "**Decided.**" in text, page.name


def test_the_exit_codes_of_the_documents_are_those_of_the_errors() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    table = text.partition("### Exit codes")[2].partition("###")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.HeadraceError)]
    assert documented == {one.exit_code for one in kinds} | {0, 130}
    assert {int(code) for code in re.findall(r"(\d+) [a-z]", cli.EPILOG)} == documented


def test_the_metrics_of_the_documents_are_those_of_the_gateway() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    source = "".join(
        Path(module.__file__).read_text("utf-8") for module in (answer_metrics, gateway_metrics, knowledge_metrics)
    )
    pattern = r"\bheadrace_[a-z_]+"
    assert set(re.findall(pattern, text)) == set(re.findall(rf'"({pattern})"', source))


def test_the_reasons_of_the_documents_are_given_somewhere() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    table = text.partition("### Conditions")[2].partition("###")[0]
    reasons = set(re.findall(r"`([A-Z][A-Za-z]+)`", table.partition("| --- |")[2]))
    source = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    assert len(reasons) > 15
    assert [one for one in sorted(reasons) if f'"{one}"' not in source and f"class {one}Error" not in source] == []


@every_document()
def test_every_variable_is_a_setting(path: Path) -> None:
    named = set(re.findall(rf"\b{PREFIX}([A-Z_]+)\b", path.read_text("utf-8")))
    assert {one.lower() for one in named} <= set(KEYS)


def test_the_settings_file_of_the_documents_is_read(tmp_path: Path) -> None:
    texts = blocks(ROOT / "docs" / "operations.md", "toml")
    assert texts
    for text in texts:
        (tmp_path / "headrace.toml").write_text(text, "utf-8")
        load_settings(tmp_path, {}, {})


@every_document(FOR_PEOPLE)
def test_events_are_pushed_where_the_door_is(path: Path) -> None:
    pushed = re.findall(r"http://127\.0\.0\.1:5000(/apis/\S+)", path.read_text("utf-8"))
    searched = knowledge.PATH.format(namespace="default", name="policies")
    assert set(pushed) <= {PATH.format(namespace="default", name="tickets"), searched}


@every_document(FOR_PEOPLE)
def test_documents_are_finished_and_speak_of_no_machine(path: Path) -> None:
    text = path.read_text("utf-8")
    for word in ("TODO", "FIXME", "XXX", "lorem", "/home/", "/root/", "/Users/", "/tmp/"):
        assert word not in text, word
