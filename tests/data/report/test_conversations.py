"""What the report says about conversations, and which rows it shows."""

import json
import re

import pytest
from support.chat_tokenizers import chat_tokenizer
from transformers import AutoTokenizer

from anima_exp.config import TooLong
from anima_exp.errors import ConfigError, DataError

BYE = "Bye. " * 60


def talk(*texts, **more):
    messages = [
        {"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)
    ]
    return {"messages": messages, **more}


def parts(row, *, trained):
    return [part.text for part in row.parts if part.trained is trained]


def test_the_summary_is_that_of_a_run(report):
    assert report.facts["template"].startswith("chatml (")
    assert report.facts["template"].endswith("answers end with <|im_end|>")
    assert report.facts["trained on"].startswith("7 answers in 6 rows: ")
    assert report.facts["too long"].startswith("1 of 6 conversations have more than 400 tokens")
    assert "1 answer left out" in report.facts["too long"]


def test_tokens_are_counted_by_who_wrote_them(report):
    counts = {one.label: one.tokens for one in report.tokens}
    assert {"system and tools", "user", "tool results", "answers, trained on"} <= counts.keys()
    assert report.counts["tokens"] == sum(counts.values())
    assert f"{report.trained_share:.1%}" in report.facts["trained on"]


def test_lengths_are_those_before_rows_are_cut(report):
    assert report.lengths["row"].max() > 400
    assert len(report.lengths["answer"]) == 8  # the one that is cut too
    [limit] = report.limits
    assert (limit.value, limit.lengths is report.lengths["row"]) == (400, True)
    assert report.recommendation == f"data.max_tokens={limit.recommended}"
    assert limit.recommended >= report.lengths["row"].max()


def test_bad_rows_repetitions_and_leaks_are_counted(report):
    assert report.problems["identical to an earlier row"] == 1
    skipped = {name: count for name, count in report.problems.items() if "skipped" in name}
    assert [*skipped.values()] == [1] and "a message" in next(iter(skipped))
    [first] = report.skipped
    assert re.search(r"a.jsonl, line 5: message 1", first)
    assert report.counts["skipped"] == 1


def test_a_row_of_each_kind_is_shown(report):
    shown = {row.heading: row.reason for row in report.rows}
    assert "the first row" in shown["Line 1"]
    assert shown["Line 2"] == "a conversation that is cut"
    assert "a row with tools" in shown["Line 3"] and "the longest row" in shown["Line 3"]
    assert shown["Line 4"] == "a row with thinking"


def test_as_many_rows_are_shown_as_wanted(reported, rows):
    assert [row.heading for row in reported(*rows, show_rows=1).rows] == ["Line 1"]
    assert reported(*rows, show_rows=0).rows == []


def test_the_parts_of_a_row_are_what_the_model_reads(report):
    row = report.rows[0]
    assert "".join(part.text for part in row.parts) == (
        "<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is 2+2?<|im_end|>\n"
        "<|im_start|>assistant\n4.<|im_end|>\n"
    )
    assert parts(row, trained=True) == ["4.<|im_end|>"]
    assert [(part.style, part.message) for part in row.parts] == [
        ("system", 1), ("user", 2), ("answer", 3), ("ending", -1),
    ]  # fmt: skip


def test_tool_calls_are_trained_on_and_tool_results_are_not(report):
    row = next(row for row in report.rows if "tools" in row.reason)
    calls, answers = parts(row, trained=True)
    assert '"name": "add"' in calls and answers == "It is 3.<|im_end|>"
    assert "tool" in {part.style for part in row.parts}


def test_one_row_can_be_asked_for(reported, rows):
    [row] = reported(*rows, show_row=4).rows
    assert (row.heading, row.reason) == ("Line 4", "")
    with pytest.raises(DataError, match=r"^show_row=5: .*a.jsonl, line 5 is not trained on. It "):
        reported(*rows, show_row=5)


def test_the_pieces_of_a_conversation_are_shown_together(reported):
    row = talk("Hello!", "Bye. " * 20, "Hello!", "Bye. " * 20)
    found = reported(row, row, max_tokens=100, too_long=TooLong.split, show_row=1)
    assert [one.heading for one in found.rows] == ["Line 1", "Line 1"]
    assert all("of 113 tokens; " in one.description for one in found.rows)


def test_sentencepiece_keeps_the_space_before_an_answer(reported):
    tokenizer = chat_tokenizer("sentencepiece")
    found = reported(talk("hi", "Bye."), talk("hi", "Bye."), tokenizer=tokenizer, template="vicuna")
    assert "".join(part.text for part in found.rows[0].parts).endswith("ASSISTANT: Bye.</s>")


def test_a_template_that_cannot_be_trained_with_is_one_line(reported, tmp_path):
    broken = tmp_path / "broken.jinja"
    broken.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(ConfigError) as error:
        reported(talk("a", "b"), template=str(broken))
    assert "cannot be trained with" in str(error.value) and "\n" not in str(error.value)


def test_a_chat_template_for_prompts_and_responses_is_refused(reported):
    with pytest.raises(ConfigError, match=r"^data.template=chatml is for conversations"):
        reported({"prompt": "a", "response": "b"}, template="chatml")


def test_tools_that_the_template_does_not_show_are_remarked(reported, rows, tmp_path):
    blind = tmp_path / "blind.jinja"
    blind.write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
    )
    found = reported(talk("a", "b", tools=rows[2]["tools"]), rows[0], template=str(blind))
    assert "does not show the model the tools" in found.remarks["tools"]
    assert "tools" not in reported(*rows).remarks


def test_what_is_trained_on_is_green_or_between_marks(report, printed):
    text = printed(report, colours=True)
    assert "\x1b[1;32m4.<|im_end|>\x1b[0m" in text
    assert "\x1b[2;35mBe brief.<|im_end|>\x1b[0m" in text
    assert "\x1b[2;36mWhat is 2+2?<|im_end|>\x1b[0m" in text
    assert "⟦" not in text
    text = printed(report)
    assert "\x1b" not in text and "⟦4.<|im_end|>⟧" in text
    assert "⟦answers, trained on⟧" in text


def test_the_middle_of_a_long_conversation_is_left_out(reported, printed):
    turns = ["Hello!", "Bye."] * 30
    text = printed(reported(talk(*turns), talk("a", BYE * 20), max_tokens=9000))
    assert re.search(r"\[\.\.\. \d+ parts, \d+ tokens \.\.\.\]", text)
    assert re.search(r"\[\.\.\. [\d,]+ characters \.\.\.\]", text)


def test_conversations_cannot_steer_the_terminal(reported, printed):
    row = talk("\x1b[2J", "\x1b]0;x\x07[red]y")
    text = printed(reported(row | {"col\x1b": "x"}, row))
    assert "\x1b" not in text and "\x07" not in text
    assert "⟦\\x1b]0;x\\x07[red]y<|im_end|>⟧" in text


@pytest.mark.parametrize(
    ("tokenizer", "template", "name"),
    [
        ("qwen2", "chatml", "reason_tool_use_demo_50.jsonl"),
        ("llama", "guanaco", "glaive_toolcall_zh_demo.json"),
    ],
)
def test_real_conversations_are_shown_whole_with_the_end_of_each_answer(
    reported, printed, shared_data, tokenizer, template, name
):
    loaded = AutoTokenizer.from_pretrained(shared_data / "tokenizers" / tokenizer)
    file = shared_data / "instruction" / "chat_demos" / name
    text = file.read_text(encoding="utf-8")
    rows = json.loads(text) if file.suffix == ".json" else map(json.loads, text.splitlines())
    found = reported(*list(rows)[:50], tokenizer=loaded, template=template, recipe="auto")
    for row in found.rows:
        whole = "".join(part.text for part in row.parts)
        tokens = int(row.description.split()[0].replace(",", ""))
        assert sum(part.tokens for part in row.parts) == tokens
        trained = [part.text for part in row.parts if part.trained]
        ends = [end.strip() for end in found.facts["template"].split("end with ")[1].split("and")]
        assert trained and all(one.endswith(tuple(ends)) for one in trained)
        assert "�" not in whole
    assert "\x1b" not in printed(found)


def test_auto_says_what_it_reads_rows_as(reported):
    assert "recipe auto: messages" in reported(talk("a", "b"), talk("a", "c"), recipe="auto").size
