"""Files of verdicts as judges leave them, made in a millisecond each."""

import json
import random
from pathlib import Path


def ours(question, first, second, score, **more):
    """A row of `python -m anima_exp.judge`; `score` is 1, 2, 3 or a pair."""
    return {
        "review_id": f"{first}{second}{question}",
        "question_id": question,
        "category": ("writing", "math")[question % 2],
        "answer1_id": f"{first}-{question}",
        "answer2_id": f"{second}-{question}",
        "model1": first,
        "model2": second,
        "kind": "relative" if isinstance(score, list) else "threeclass",
        "score": score,
        "parsed": score not in (-1, [-1, -1]),
        "text": "",
        "judge": "gpt-4",
        "prompt_sha256": "",
        **more,
    }


def released(question, first, second, score):
    """A row of QLoRA's: answers by id only. `first` and `second` are who wrote them."""
    row = ours(question, first, second, score)
    kept = ("review_id", "question_id", "answer1_id", "answer2_id", "text", "score")
    return {**{key: row[key] for key in kept}, "reviewer_id": 1, "metadata": {}}


def write(path, rows):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")
    return path


def tournament(folder, *, players=("ada", "bob", "cy"), questions=40, gap=1.0, seed=0, **more):
    """Three-class verdicts in both orders; each player beats the next `gap` in log odds."""
    draw = random.Random(seed)
    for first in players:
        for second in players:
            if first == second:
                continue
            lead = gap * (players.index(second) - players.index(first))
            chance = 1 / (1 + 2.718281828**-lead)
            rows = [
                ours(question, first, second, 1 if draw.random() < chance else 2, **more)
                for question in range(questions)
            ]
            write(Path(folder) / f"{first}-vs-{second}.jsonl", rows)
    return Path(folder)


def relative(folder, *, reference="chat", players=("ada", "bob"), questions=20):
    """Scores of 1 to 10 in both orders."""
    for place, player in enumerate(players):
        scores = [7.0 - place + question % 2 for question in range(questions)]
        one = [ours(q, player, reference, [scores[q], 8.0]) for q in range(questions)]
        other = [ours(q, reference, player, [9.0, scores[q]]) for q in range(questions)]
        write(Path(folder) / f"{player}-vs-{reference}.jsonl", one)
        write(Path(folder) / f"{reference}-vs-{player}.jsonl", other)
    return Path(folder)
