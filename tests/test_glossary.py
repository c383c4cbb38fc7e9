"""Names and prose use the terms of docs/concepts/glossary.md, and none of the words it rules out.

The last column of its tables lists words that are not used: `told`, or several words as `give up`.
Looked at are the names that src/ defines (modules, classes, functions, arguments, attributes), and
prose: docstrings, comments and messages of src/, comments in conf/ and sweeps/, README and docs/.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "concepts" / "glossary.md"
SOURCES = [ROOT / "src" / "anima_exp", ROOT / "src" / "hydra_plugins"]

# `card` is a GPU nowhere. Of the model card it is said in these folders, and as "model card".
CARDS = ("model_card", "publishing", "merging")

# Uses that stay: file -> word -> why. Each must still be there.
EXCEPTIONS = {
    "src/anima_exp/evals/multiple_choice/measure.py": {
        "asked": "the field is a key of every record and evaluation file",
    },
    "src/anima_exp/judging/prompts.py": {
        "asked": "verdicts name their prompt by a hash of its text",
    },
    "src/anima_exp/libraries/hydra_errors.py": {"found": "the text is Hydra's"},
    "src/anima_exp/libraries/peft_internals.py": {"found": "the text is PEFT's"},
    "src/anima_exp/system/json_files.py": {
        "snapshot": "it is the name of a file in every quantized cache",
    },
}


def banned() -> dict[str, str]:
    """Return each word that is not used -> the term that is."""
    found = {}
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and cells[2] not in ("not", "---", "–"):
            found |= {word.strip().lower(): cells[0] for word in cells[2].split(",")}
    return found


BANNED = banned()
_WORDS = re.compile(rf"(?<![\w-])({'|'.join(sorted(BANNED, key=len, reverse=True))})(?![\w-])")
_CARD = re.compile(r"(?<![\w-])(?<!model )(?<!model-)cards?(?![\w-])")
_CODE = re.compile(r"`[^`\n]*`")


def words_in(text: str, folder: str) -> list[str]:
    """Return the banned words in a text, code in backticks left out."""
    plain = re.sub(r"\s+", " ", _CODE.sub("`", text)).lower()
    found = _WORDS.findall(plain)
    return found if folder in CARDS else found + _CARD.findall(plain)


def spelled(name: str) -> str:
    """`givenUp` or `pruned` -> "given up"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).strip().lower()


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the names that a module defines, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        if isinstance(node, ast.Module | ast.ClassDef):  # constants, and fields of dataclasses
            for one in node.body:
                targets = one.targets if isinstance(one, ast.Assign) else []
                targets = [one.target] if isinstance(one, ast.AnnAssign) else targets
                yield from ((t.lineno, t.id) for t in targets if isinstance(t, ast.Name))


def prose_in(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments, and the texts with a space in them, of a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING and " " in token.string:
            # Of an f-string what stands between braces is code.
            formatted = "f" in token.string.partition('"')[0].lower()
            yield (
                token.start[0],
                re.sub(r"\{[^{}]*\}", "`", token.string) if formatted else (token.string),
            )


def hits_in_python(file: Path, folder: str) -> Iterator[tuple[int, str]]:
    text = file.read_text(encoding="utf-8")
    named = [(1, file.stem), *names_in(ast.parse(text))]
    for line, name in named:
        yield from ((line, word) for word in words_in(spelled(name), folder))
    for line, prose in prose_in(text):
        yield from ((line, word) for word in words_in(prose, folder))


def hits_in_markdown(file: Path, folder: str) -> Iterator[tuple[int, str]]:
    text = re.sub(  # code blocks, but for their line breaks
        r"^(```|~~~).*?^\1|^(?: {4}|\t).*$",
        lambda block: "\n" * block[0].count("\n"),
        file.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    for number, line in enumerate(text.splitlines(), start=1):
        yield from ((number, word) for word in words_in(line, folder))


def hits_in_yaml(file: Path, folder: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        comment = re.search(r"(?:^|\s)# (.*)", line)
        yield from ((number, word) for word in words_in(comment[1] if comment else "", folder))


def all_hits() -> Iterator[tuple[str, int, str]]:
    """Yield (file, line, word) for every use of a banned word."""
    readers = {".py": hits_in_python, ".md": hits_in_markdown, ".yaml": hits_in_yaml}
    for top in [*SOURCES, ROOT / "docs", ROOT / "conf", ROOT / "sweeps", *ROOT.glob("*.md")]:
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if file.suffix not in readers or file == GLOSSARY or file.name == "CHANGELOG.md":
                continue
            parts = file.relative_to(ROOT).parts
            inside = parts[1:] if parts[0] == "src" else parts
            inside = inside[1:] if inside[0] == "anima_exp" else inside
            folder = "commands" if parts[0] == "src" and len(inside) == 1 else inside[0]
            for line, word in readers[file.suffix](file, folder):
                yield "/".join(parts), line, word


def test_the_glossary_rules_out_words():
    assert BANNED["dice"] == "random generator"
    assert len(BANNED) > 20


def test_a_banned_word_is_seen_in_names_and_prose(tmp_path):
    file = tmp_path / "told.py"
    file.write_text(
        "class GivenUp:\n    asked: int = 0  # nobody reads it\n\n    def ok(self, dice):\n"
        '        """Take dice."""\n        self.told = f"a card {told} is"\n        found = 1\n'
    )
    seen = [word for _, word in hits_in_python(file, "planner")]
    words = {"told": 2, "given up": 1, "asked": 1, "nobody": 1, "dice": 2, "card": 1}
    assert Counter(seen) == words  # a local variable is free, and so is code in an f-string
    page = tmp_path / "page.md"
    page.write_text("A model card `told` us.\n\n```\ntold\n```\n\nSomebody told.\n")
    assert list(hits_in_markdown(page, "docs")) == [(7, "somebody"), (7, "told")]


def test_names_and_prose_hold_to_the_glossary():
    allowed = {(file, word) for file, words in EXCEPTIONS.items() for word in words}
    hits = [(file, line, word) for file, line, word in all_hits()]
    wrong = [
        f"{file}:{line}: {word}; use: {BANNED.get(word, 'GPU')}"
        for file, line, word in hits
        if (file, word) not in allowed
    ]
    assert not wrong, "\n".join(wrong)
    assert allowed == {(file, word) for file, _, word in hits}, "An exception is no longer needed."
