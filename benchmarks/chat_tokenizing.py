"""Conversations rendered, verified, tokenized and cached, against the template call alone.

python benchmarks/chat_tokenizing.py TOKENIZER [CONVERSATIONS] [TEMPLATE]

TOKENIZER is a folder with a tokenizer. CONVERSATIONS (50,000) are generated: one to four rounds, a
quarter with a system prompt. The template call is apply_chat_template with tokenize=True, once per
conversation, which tells nothing about what is trained on. Seconds are wall time, reading included.
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path

WORDS = [
    "river",
    "stone",
    "light",
    "table",
    "morning",
    "answer",
    "window",
    "forest",
    "number",
    "paper",
    "music",
    "garden",
    "winter",
    "market",
    "engine",
    "letter",
    "island",
    "mountain",
    "bread",
    "colour",
]


def main(tokenizer_folder, count=50_000, template="chatml"):
    """Print both times and their ratio, and the time of a second start."""
    from transformers import AutoTokenizer

    from anima_exp.config import DataConfig
    from anima_exp.data.chat import templates
    from anima_exp.data.dataset import prepare

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "talks.jsonl"
        with file.open("w", encoding="utf-8") as out:
            for one in conversations(int(count)):
                out.write(json.dumps({"messages": one}) + "\n")
        config = DataConfig(
            name="talks", recipe="messages", path=str(file), template=template, heldout_rows=100,
            max_prompt_tokens=1, max_response_tokens=1, prompt_template="chat",
        )  # fmt: skip
        first, data = timed(lambda: prepare(config, tokenizer, cache=Path(folder) / "cache"))
        again, _ = timed(lambda: prepare(config, tokenizer, cache=Path(folder) / "cache"))
        source = templates.choose(template, tokenizer).source
        plain, _ = timed(lambda: call_template(file, tokenizer, source))
    print(f"{int(count):,} conversations, {data.counts.train_tokens:,} tokens, {template}")
    print(f"verified and cached {first:7.1f} s")
    print(f"template call alone {plain:7.1f} s  ratio {first / plain:.2f}")
    print(f"second start        {again:7.2f} s")


def conversations(count):
    """Yield conversations of random words."""
    random_words = random.Random(0)

    def text():
        return " ".join(random_words.choices(WORDS, k=random_words.randint(5, 80)))

    for number in range(count):
        system = [{"role": "system", "content": text()}] if number % 4 == 0 else []
        rounds = [
            {"role": role, "content": text()}
            for _ in range(1 + number % 4)
            for role in ("user", "assistant")
        ]
        yield [*system, *rounds]


def call_template(file, tokenizer, source):
    """Render and tokenize every conversation with its template, one after the other."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            tokenizer.apply_chat_template(
                json.loads(line)["messages"], chat_template=source, tokenize=True
            )


def timed(work):
    """Return the seconds of a call, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
