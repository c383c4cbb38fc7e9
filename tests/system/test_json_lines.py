from anima_exp.system.json_lines import JsonLinesLog


def lines(tmp_path, *steps):
    file = JsonLinesLog(tmp_path / "metrics.jsonl")
    for step in steps:
        file.append({"step": step})
    return file


def test_only_the_wanted_lines_are_kept(tmp_path):
    file = lines(tmp_path, 1, 2, 3)
    file.keep(lambda row: row["step"] <= 2)
    assert [row["step"] for row in file.rows()] == [1, 2]


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path):
    file = lines(tmp_path, 1)
    with file.path.open("a") as out:
        out.write('{"step": 2, "lo')
    assert file.rows() == [{"step": 1}]
    file.keep(lambda row: True)
    file.append({"step": 3})
    assert file.rows() == [{"step": 1}, {"step": 3}]


def test_text_keeps_its_line_separators(tmp_path):
    file = lines(tmp_path)
    file.append({"step": 1, "response": "a\u2028b\nc"})
    assert file.rows() == [{"step": 1, "response": "a\u2028b\nc"}]


def test_a_file_of_the_first_version_keeps_its_bytes_when_its_lines_are_kept(tmp_path):
    """A checkpoint of that version knows them by their hash."""
    lines = JsonLinesLog(tmp_path / "metrics.jsonl")
    lines.path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    mark = lines.vouch()
    lines.keep(lambda row: True)
    assert lines.intact(mark)
    lines.append({"step": 3, "loss": 0.5})
    assert lines.intact(mark)
