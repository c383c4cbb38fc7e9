"""Small files of answers, and what a judge left behind."""

import json
from pathlib import Path

from anima_exp.config.commands import JudgeConfig


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def answers(folder, name, texts, **more):
    """Question n (from 1) is answered by texts[n - 1]; None = not answered."""
    rows = [
        {"question_id": n, "question": f"Question {n}?", "text": text, **more}
        for n, text in enumerate(texts, start=1)
        if text is not None
    ]
    return write(folder / f"{name}.jsonl", rows)


def two(folder, questions=2):
    return [
        answers(folder, name, [f"{name} says {n}" for n in range(questions)])
        for name in ("alpha", "beta")
    ]


def config(tmp_path, url, files=None, **settings):
    """Impatient, and allowed to ask."""
    given = {
        "answers": files or two(tmp_path),
        "out": str(tmp_path / "ratings"),
        "judge_model": "judge-1",
        "base_url": url,
        "backoff_seconds": 0.01,
        "timeout_seconds": 5.0,
        "yes": True,
    }
    return JudgeConfig(**(given | settings))


def verdicts(tmp_path, pattern="*.jsonl"):
    """Every row of the pair files."""
    return [
        json.loads(line)
        for path in sorted(Path(tmp_path / "ratings").glob(pattern))
        for line in path.read_text("utf-8").split("\n")
        if line
    ]


def stored(tmp_path):
    path = tmp_path / "ratings" / "store" / "verdicts.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
