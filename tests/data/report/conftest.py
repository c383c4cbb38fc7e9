import io

import pytest
from rich.console import Console
from support.byte_tokenizer import byte_tokenizer, local, write_rows
from support.chat_tokenizers import chat_tokenizer

from anima_exp.data.report.build import build
from anima_exp.data.report.console import show


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """Write rows, and return the report on them."""

    def _reported(*rows, tokenizer=None, show_rows=5, show_row=None, name="a.jsonl", **settings):
        folder = tmp_path_factory.mktemp("data")
        chat = "prompt" not in rows[0]
        base = {"recipe": "messages", "template": "chatml", "prompt_template": "chat"}
        tokenizer = tokenizer or (chat_tokenizer("bytes") if chat else byte_tokenizer())
        config = local(write_rows(folder / name, *rows), **((base if chat else {}) | settings))
        return build(
            config,
            tokenizer,
            tokenizer_name="tests",
            stops=(),
            cache=folder / "cache",
            show_rows=show_rows,
            show_row=show_row,
        )

    return _reported


@pytest.fixture(scope="session")
def printed():
    """Return what the terminal shows of a report, with colours or without."""

    def _printed(report, *, colours=False):
        screen = io.StringIO()
        system = "standard" if colours else None
        show(report, Console(file=screen, width=200, force_terminal=colours, color_system=system))
        return screen.getvalue()

    return _printed


ADD = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {}}}


def say(role, content="", **more):
    return {"role": role, "content": content, **more}


def talk(*texts, **more):
    """User and assistant in turn, as a row of data.recipe=messages."""
    return {
        "messages": [say(("user", "assistant")[n % 2], text) for n, text in enumerate(texts)],
        **more,
    }


@pytest.fixture(scope="session")
def rows():
    """Six conversations: of each kind that a report shows, and a bad one."""
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    return [
        {
            "messages": [
                say("system", "Be brief."),
                say("user", "What is 2+2?"),
                say("assistant", "4."),
            ]
        },
        talk("Hello!", "Hello, how are you?", "Bye.", "Bye. " * 300),
        {
            "messages": [
                say("user", "Add."),
                say("assistant", tool_calls=[call]),
                say("tool", "It is 3.", name="add"),
                say("assistant", "It is 3."),
            ],
            "tools": [ADD],
        },
        talk("Think of it.", "<think>\nSo.\n</think>\n\nIt is."),
        talk("", "nothing asks"),
        talk("Hello!", "Hello."),
        talk("Hello!", "Hello."),
    ]


@pytest.fixture(scope="session")
def report(reported, rows):
    return reported(*rows, max_tokens=400, heldout_rows=1)
