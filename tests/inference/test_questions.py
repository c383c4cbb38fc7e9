"""Questions come from a file or a server, whole and with ids of their own, or one line says why."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from anima_exp.config import AnsweringConfig
from anima_exp.data import download
from anima_exp.errors import DataError
from anima_exp.inference import questions

pytestmark = pytest.mark.usefixtures("shown")

ROWS = [
    {"question_id": 1, "text": "Why?", "category": "generic", "translation": "问题：为什么？"},
    {"question_id": "b", "text": "A\u2028B", "translation": "乙", "reference": "C"},
]


@pytest.fixture
def load(tmp_path):
    def _load(place, **settings):
        config = AnsweringConfig(**settings)
        return questions.load(str(place), config, key="questions", cache=tmp_path / "cache")

    return _load


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "lines.json"])
def test_a_file_of_lines_or_a_list(load, tmp_path, name):
    content = json.dumps(ROWS) if name == "a.json" else lines(ROWS)
    (tmp_path / name).write_text(content, encoding="utf-8")
    first, second = load(tmp_path / name)
    assert (first.id, first.text, first.category, first.reference) == (1, "Why?", "generic", None)
    assert (second.id, second.text, second.category, second.reference) == ("b", "A\u2028B", "", "C")


def test_of_several_turns_the_first_is_asked_and_that_is_told(load, tmp_path, capsys):
    rows = [{"question_id": n, "turns": [f"Write {n}.", "Shorter."]} for n in (1, 2)]
    (tmp_path / "a.jsonl").write_text(lines([*rows, {"question_id": 3, "turns": ["Alone."]}]))
    assert [q.text for q in load(tmp_path / "a.jsonl")] == ["Write 1.", "Write 2.", "Alone."]
    assert capsys.readouterr().err == (
        f"anima_exp: questions={tmp_path}/a.jsonl: 2 rows have several turns; only the first turn "
        "of each is used.\n"
    )


def test_a_translation_is_asked_to_the_letter(load, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(ROWS), encoding="utf-8")
    assert [q.text for q in load(tmp_path / "a.json", translated=True)] == ["问题：为什么？", "乙"]


def test_only_the_first_questions(load, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    assert [q.id for q in load(tmp_path / "a.json", max_questions=1)] == [1]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "Q"}, "line 3: field 'question_id' is missing. Use a whole number or"),
        ({"question_id": 3}, "line 3: field 'text' is missing; the row has question_id."),
        ({"question_id": 1, "text": "Q"}, "line 3: question_id 1 is already used in FILE, line 1."),
        (
            {"question_id": "1", "text": "Q"},
            "line 3: question_id 1 is already used in FILE, line 1.",
        ),
        ({"question_id": 3, "text": " "}, "line 3: field 'text' is empty."),
        ({"question_id": 3, "text": "\ud800"}, "line 3: field 'text' contains half a character"),
        (
            {"question_id": [3], "text": "Q"},
            "line 3: field 'question_id' is a list. Use a whole number",
        ),
        (
            {"question_id": 3, "turns": [3]},
            "line 3: field 'text' is missing; the row has question_id",
        ),
        ({"question_id": 3, "text": "Q", "category": 3}, "line 3: field 'category' is a number"),
        ([3], "line 3: it is one list, not an object with named columns"),
    ],
)
def test_a_row_that_is_no_question_is_told_by_its_line(load, tmp_path, row, told):
    path = tmp_path / "a.jsonl"
    path.write_text(lines(ROWS) + json.dumps(row))
    with pytest.raises(DataError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}, {told.replace('FILE', str(path))}")
    assert "\n" not in str(error.value)


def test_a_missing_translation_names_the_way_out(load, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question_id": 1, "text": "Q"}\n')
    with pytest.raises(
        DataError, match=r"'translation' is missing.*translated=false to ask field 'text'"
    ):
        load(tmp_path / "a.jsonl", translated=True)


def test_no_file_and_no_question(load, tmp_path):
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"contains no questions"):
        load(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"b\.jsonl: no such file\. That folder has a\.jsonl\.$"):
        load(tmp_path / "b.jsonl")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_tiny_questions_are_of_the_part_that_no_training_row_is(load, language):
    from anima_exp.tiny.world import sample_rows

    found = load(f"tiny_{language}")
    assert [q.id for q in found] == list(range(1, 81))
    assert all(q.reference and q.category for q in found)
    trained = sample_rows(4000, language=language, part="train")
    assert not {q.text for q in found} & {row["instruction"] for row in trained}
    assert load(f"tiny_{language}", max_questions=90)[:80] == found


class Server(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        Server.asked += 1
        if self.path == "/slow-headers.jsonl":
            try:
                for _ in range(100):
                    self.wfile.write(b"H")
                    time.sleep(0.05)
            except OSError:
                return
            return
        if self.path == "/slow.jsonl":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100):
                    self.wfile.write(b" ")
                    time.sleep(0.05)
            except OSError:
                return
            return
        content = {
            "/good.jsonl": lines(ROWS),
            "/list?raw=true": json.dumps(ROWS),
            "/page.json": "<!DOCTYPE html><p>Sign in</p>",
            "/nonsense.jsonl": '{"question_id": 1, "text": ',
            "/short.jsonl": lines(ROWS),
        }.get(self.path)
        if content is None:
            self.send_error(404)
            return
        body = content.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + 9 * self.path.startswith("/short")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize("path", ["/good.jsonl", "/list?raw=true"])
def test_a_url_is_fetched_once(load, server, path):
    before = Server.asked
    first = load(server + path)
    assert [q.id for q in first] == [1, "b"]
    assert load(server + path) == first
    assert Server.asked == before + 1


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "/none.jsonl",
            "cannot be downloaded: the server responded 404 Not Found. Save it as a file",
        ),
        ("/page.json", "It is a web page. Give the URL of the file itself."),
        ("/nonsense.jsonl", "/nonsense.jsonl, line 1: broken JSON"),
        ("/short.jsonl", "cannot be downloaded: IncompleteRead"),
    ],
)
def test_a_server_that_has_no_questions_is_told_in_one_line(load, server, tmp_path, path, told):
    for _ in range(2):  # nothing of it is kept
        with pytest.raises(DataError) as error:
            load(server + path)
        assert server + path in str(error.value) and told in str(error.value)
        assert "\n" not in str(error.value) and str(tmp_path) not in str(error.value)
    assert not list((tmp_path / "cache").rglob("*.json*"))


def test_a_server_that_is_too_slow_or_sends_too_much_is_left(server, tmp_path):
    how = {"key": "questions", "cache": tmp_path, "check": lambda file: None}
    started = time.monotonic()
    for path in ("slow.jsonl", "slow-headers.jsonl"):
        with pytest.raises(DataError, match="no complete response within 0 s"):
            download.fetch(f"{server}/{path}", seconds=0.3, **how)
    assert time.monotonic() - started < 3
    with pytest.raises(DataError, match="it is larger than 0 MiB"):
        download.fetch(f"{server}/good.jsonl", max_bytes=10, **how)


def test_no_server_at_all(load):
    with pytest.raises(
        DataError, match=r"questions=http://127\.0\.0\.1:9/q cannot be downloaded: "
    ):
        load("http://127.0.0.1:9/q")
