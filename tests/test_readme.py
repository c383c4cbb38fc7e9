"""README and the pages of docs/ say only what is so: commands, settings, files and links exist."""

import re
import shlex
from functools import cache
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from anima_exp.cli.command import schema_of
from anima_exp.cli.commands import COMMANDS, find
from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.error_messages import choices
from anima_exp.cli.explain import explain, schemas
from anima_exp.cli.flat_settings import parse as parse_flat
from anima_exp.cli.overrides import quote_override, split_options
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import catalogue, former_keys
from anima_exp.sweeping.composer import Composer
from anima_exp.sweeping.expand import Point
from anima_exp.system.paths import shipped

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
FILES = [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
PAGES = {file.relative_to(REPOSITORY).as_posix(): file.read_text("utf-8") for file in FILES}
assert {"README.md", "docs/gallery.md", "docs/reference/commands.md"} <= set(PAGES)

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"(\banima-exp +|-m anima_exp\.)(?P<program>[a-z_.]+)(?P<arguments>.*)")
MODULES = {command.module: command.name for command in COMMANDS.values()}
_PLACEHOLDER = re.compile(r"^(model|data|sweep|experiment|lora)=[A-Z_]+$")  # model=NAME


def code(page):
    """Every piece of code that a shell might read: blocks, line by line, and inline code."""
    text = PAGES[page]
    for _, language, block in _FENCE.findall(text):
        if language in ("", "bash", "sh", "shell", "console"):
            yield from block.replace("\\\n", " ").splitlines()
    rest = _FENCE.sub("", text)
    yield from (line for line in rest.replace("\\\n", " ").splitlines() if line[:4] == "    ")
    yield from re.findall(r"`([^`\n]+)`", rest)


def commands(page):
    """(program, arguments) of every command that the page shows."""
    for piece in code(page):
        for call in _CALL.finditer(piece):
            words = shell_words(re.split(r'\)"', call["arguments"])[0])  # "$(anima-exp ...)"
            program = MODULES.get(call["program"], call["program"])
            yield program, tuple(word.replace("...", "x") for word in words)


def shell_words(text):
    """The words of a command up to a comment, a pipe or another command."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split = True
    words = []
    try:
        for word in lexer:
            if set(word) <= set("|;&<>"):
                break
            words.append(word)
    except ValueError as error:  # a quote is not closed
        return [f"{text}: {error}"]
    return words


SHOWN = {program for page in PAGES for program, _ in commands(page)}
assert set(COMMANDS) <= SHOWN, "a command is on no page, or this test no longer finds commands"


@cache
def mistake(program, words):
    """What is wrong with a command; None if it composes. A bare `anima-exp elo` is a name."""
    command = find(program)
    if command is None:
        return f"there is no command {program}"
    if not words or "--help" in words or program == "completion":
        return None
    try:
        if program == "help":
            for name in words:
                assert name.isupper() or explain(name)
        elif command.config:
            compose(schema_of(command), command.config, settings_of(words))
        else:
            parse_flat(words, schema_of(command), words=command.words)
    except Exception as error:
        return str(error)
    return None


def settings_of(words):
    """The settings of a command line, and of a sweep its first cell."""
    options, settings = split_options(list(words))
    if "--config-dir" in options or any("rnak" in word for word in words):
        return ()  # files that are not here; the example of a mistake, which test_messages.py holds
    settings = [word for word in settings if not word.startswith("hydra")]
    settings = [word for word in settings if not _PLACEHOLDER.match(word)]
    if "-m" in options:
        settings = [word for word in settings if "interval(" not in word and "range(" not in word]
        settings = [word if "[" in word else word.split(",")[0] for word in settings]
    return tuple(quote_override(word) for word in settings)


def compose(schema, name, overrides):
    if schema is RunConfig:
        return composer().compose(Point(overrides))
    register_schema(schema)
    try:
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            return parse(hydra.compose(name, overrides=list(overrides)))
    finally:
        register_schema()


@cache
def composer():
    """Composes a choice of groups once, for all commands that differ in values alone."""
    with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return Composer(loader, loader.load_configuration("train", [], RunMode.MULTIRUN))


# test_gallery.py and test_sweeps.py hold the gallery's commands.
@pytest.mark.parametrize("page", sorted(set(PAGES) - {"docs/gallery.md"}))
def test_every_command_of_a_page_composes(page):
    mistakes = {
        f"anima-exp {shlex.join([program, *words])}": why
        for program, words in commands(page)
        if (why := mistake(program, words))
    }
    assert mistakes == {}


def test_the_check_of_commands_would_notice():
    assert "no setting 'lora.rang'" in mistake("train", ("lora.rang=8",))
    assert mistake("trian", ()) == "there is no command trian"
    assert "mertic" in mistake("compare", ("runs", "mertic=mmlu"))
    assert "lora.rnk" in mistake("help", ("lora.rnk",))


GROUPS = "model|quant|lora|data|optimizer|trainer|evals|tracking|sweep|launcher"
_SETTING = re.compile(rf"`((?:{GROUPS})\.[a-z_0-9.]+?)(?:=[^`]*)?`")
_FILES = (".py", ".yaml", ".json", ".jsonl", ".md", ".safetensors")


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_exists(page):
    known = {key for schema in schemas() for key in catalogue(schema)}
    if page in ("CHANGELOG.md", "docs/reference/settings.md"):  # they name the former names
        known |= {key for schema in schemas() for key in former_keys(schema)}
    open_tables = ("evals.custom.", "evals.benchmarks.", "data.parts.")
    named = {key for key in _SETTING.findall(PAGES[page]) if not key.endswith(_FILES)}
    assert {key for key in named - known if not key.startswith(open_tables)} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {"demo", "docs", "test"} <= targets
    named = {name for piece in code(page) for name in re.findall(r"\bmake ([a-z-]+)", piece)}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page):
    named = re.findall(r"`((?:conf|src|sweeps|docs|tests|benchmarks)/[\w./-]*)`", PAGES[page])
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


_LINK = re.compile(r"(?<!\\)\]\(<?([^)>\s]+)>?(?: \"[^\"]*\")?\)|<img[^>]* src=\"([^\"]+)\"")
ROOT_PAGES = {"contributing.md", "changelog.md"}  # docs/hooks/site.py makes them of root files


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_has_a_target(page):
    """mkdocs checks the anchors too; this one also holds README, and needs no build."""
    folder = (REPOSITORY / page).parent
    prose = re.sub(r"`[^`\n]+`", "", _FENCE.sub("", PAGES[page]))
    broken = []
    for link in ("".join(one) for one in _LINK.findall(prose)):
        target = folder / link.partition("#")[0]
        if "://" in link or link.startswith(("#", "mailto:")) or target.exists():
            continue
        if target.resolve() in {DOCS / one for one in ROOT_PAGES}:
            continue
        if target.with_suffix(".ipynb").exists():  # a notebook's page
            continue
        broken.append(link)
    assert broken == []


def nav(node):
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return [page for one in node for page in nav(one)]
    return [node]


def test_every_page_is_in_the_navigation_once():
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    listed = nav(yaml.safe_load(text)["nav"])
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    notebooks = [p.relative_to(DOCS).with_suffix(".md").as_posix() for p in DOCS.rglob("*.ipynb")]
    assert sorted(listed) == sorted({*pages, *notebooks, *ROOT_PAGES})


def test_the_table_of_groups_names_every_choice():
    pages = "\n".join(PAGES.values())
    for group in ("data", "quant", "lora", "optimizer", "evals", "tracking"):
        lines = [line for line in pages.splitlines() if line.startswith(f"| `{group}` |")]
        named = [set(re.findall(r"`(\w+)`", line.split("|")[2])) for line in lines]
        assert any(one >= set(choices(group)) for one in named), group
