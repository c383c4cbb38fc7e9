"""Null fields of Arrow do not reach a conversation: a call has its own arguments only."""

import pyarrow as pa
import pyarrow.parquet as pq

from anima_exp.data.chat.rows import messages
from anima_exp.data.readers import rows


def call(name, **arguments):
    calls = [{"function": {"name": name, "arguments": arguments}}]
    return [{"role": "user", "content": "Go."}, {"role": "assistant", "tool_calls": calls}]


def test_a_call_in_parquet_has_its_own_arguments_only(tmp_path):
    file = tmp_path / "a.parquet"
    talks = [{"messages": call("add", a=1)}, {"messages": call("find", word="x")}]
    pq.write_table(pa.Table.from_pylist(talks), file)
    found = [messages(row).messages[1].tool_calls[0].arguments for _, row in rows(file)]
    assert found == [{"a": 1}, {"word": "x"}]


def test_a_null_in_another_column_stays(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([{"meta": {"a": None, "b": 1}, "text": None}]), file)
    assert [row for _, row in rows(file)] == [{"meta": {"a": None, "b": 1}, "text": None}]
