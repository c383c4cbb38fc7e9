"""Null fields of Arrow do not reach a conversation: a call has its own arguments only."""

import pyarrow as pa
import pyarrow.parquet as pq

from anima_exp.config import DataConfig
from anima_exp.data.chat.reading import as_read
from anima_exp.data.readers import rows
from anima_exp.data.source import training_source


def call(name, **arguments):
    calls = [{"function": {"name": name, "arguments": arguments}}]
    return [{"role": "user", "content": "Go."}, {"role": "assistant", "tool_calls": calls}]


def test_a_call_in_parquet_has_its_own_arguments_only(tmp_path):
    file = tmp_path / "a.parquet"
    talks = [{"messages": call("add", a=1)}, {"messages": call("find", word="x")}]
    pq.write_table(pa.Table.from_pylist(talks), file)
    config = DataConfig(
        name="talks", recipe="messages", path=str(file), prompt_template="chat",
        max_prompt_tokens=8, max_response_tokens=8,
    )  # fmt: skip
    source, recipe = as_read(training_source(config), config)
    found = [recipe(row).messages[1].tool_calls[0].arguments for _, row in source.read()]
    assert found == [{"a": 1}, {"word": "x"}]


def test_a_recipe_of_examples_sees_the_row_as_it_is(tmp_path):
    file = tmp_path / "a.parquet"
    rows_with_names = [{"messages": [{"role": "user", "name": None}]}]
    pq.write_table(pa.Table.from_pylist(rows_with_names), file)
    assert [row for _, row in rows(file)] == rows_with_names


def test_a_null_in_another_column_stays(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([{"meta": {"a": None, "b": 1}, "text": None}]), file)
    assert [row for _, row in rows(file)] == [{"meta": {"a": None, "b": 1}, "text": None}]
