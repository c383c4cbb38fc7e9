"""Prompts are QLoRA's to the byte; what has no room loses examples, never the question."""

from collections import Counter
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, models

from anima_exp.config import ChoiceScore, ModelConfig, MultipleChoiceConfig
from anima_exp.errors import DataError, ModelError
from anima_exp.evals.multiple_choice.benchmark import Benchmark, Question, Subject
from anima_exp.evals.multiple_choice.measure import export, prepare_benchmark
from anima_exp.evals.multiple_choice.shots import fit_shots
from anima_exp.model.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def tiny():
    return load_tokenizer(ModelConfig(name="tiny", source="tiny"))


def real(shared_data, name):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(shared_data / "tokenizers" / name)


def settings(**how):
    return MultipleChoiceConfig(source="", **{"prompt": "mmlu", "shots": 2} | how)


def test_qloras_released_file_byte_for_byte(shared_data, tmp_path):
    folder = shared_data / "eval" / "mmlu"
    config = MultipleChoiceConfig(source="", path=str(folder / "csv"), prompt="mmlu")
    ready = prepare_benchmark("mmlu", config, real(shared_data, "llama"))
    export(ready, tmp_path / "five_shot_mmlu_val.json")
    released = (folder / "qlora" / "five_shot_mmlu_val.json").read_bytes()
    assert (tmp_path / "five_shot_mmlu_val.json").read_bytes() == released
    assert Counter(one.shots for one in ready.questions) == {5: 1475, 4: 19, 3: 31, 2: 6}
    assert ready.without_some_examples == 56
    assert max(len(one.ids) for one in ready.questions) <= 2048


def test_the_zero_shot_file_byte_for_byte(shared_data, tmp_path):
    folder = shared_data / "eval" / "mmlu"
    config = MultipleChoiceConfig(source="", path=str(folder / "csv"), prompt="mmlu", shots=0)
    export(prepare_benchmark("mmlu", config, real(shared_data, "llama")), tmp_path / "out.json")
    released = (folder / "qlora" / "zero_shot_mmlu_val.json").read_bytes()
    assert (tmp_path / "out.json").read_bytes() == released


def test_letters_are_the_tokens_that_follow_a_prompt(shared_data):
    """LLaMA's tokenizer begins a text with a space of its own, but not behind Chinese."""
    subject = Subject("s", "s", (Question("Q?", ("1", "2", "3", "4"), 0),))
    expected = {
        ("llama", "mmlu"): "▁A",
        ("llama", "cmmlu"): "A",
        ("llama", "ceval"): "A",
        ("qwen2", "mmlu"): "ĠA",
        ("qwen2", "cmmlu"): "A",
    }
    for (name, prompt), token in expected.items():
        tokenizer = real(shared_data, name)
        config = settings(shots=0, prompt=prompt)
        (asked,) = fit_shots(Benchmark(prompt, (subject,)), config, tokenizer)
        tokens = [tokenizer.convert_ids_to_tokens(int(option[0])) for option in asked.options]
        assert tokens[0] == token
        assert [len(option) for option in asked.options] == [1, 1, 1, 1]
        # It is what stands there when the answer is written behind the question.
        written = tokenizer(asked.text + (" A" if prompt == "mmlu" else "A"))["input_ids"]
        assert written[-1] == asked.options[0][0]


def benchmark(length=1, examples=2):
    one = Question("Which? " * length, ("red", "green", "blue", "a very dark grey"), 2)
    return Benchmark("mmlu", (Subject("colours", "colours", (one,), (one,) * examples),))


def test_examples_are_dropped_until_all_fits(tiny):
    lengths = {}
    for shots in (0, 1, 2):
        (asked,) = fit_shots(benchmark(), settings(shots=shots), tiny)
        lengths[shots] = len(asked.ids)
    assert lengths[0] < lengths[1] < lengths[2]
    for limit, shots in ((lengths[2], 2), (lengths[2] - 1, 1), (lengths[1] - 1, 0)):
        (asked,) = fit_shots(benchmark(), settings(max_prompt_tokens=limit), tiny)
        assert (asked.shots, len(asked.ids)) == (shots, lengths[shots])
        assert asked.text.endswith("D. a very dark grey\nAnswer:")


def test_a_question_that_never_fits_is_named(tiny):
    with pytest.raises(DataError) as error:
        fit_shots(benchmark(length=50), settings(max_prompt_tokens=40), tiny)
    assert "a question of colours has" in str(error.value)
    assert "Raise evals.mmlu.max_prompt_tokens=40." in str(error.value)


def test_whole_answers_need_room_too(tiny):
    config = settings(score=ChoiceScore.answer, prompt="bare", shots=0)
    (asked,) = fit_shots(benchmark(), config, tiny)
    longest = max(map(len, asked.options))
    assert longest > 1
    (fits,) = fit_shots(
        benchmark(),
        settings(score=ChoiceScore.answer, prompt="bare", shots=0,
                 max_prompt_tokens=len(asked.ids) + longest - 1),
        tiny,
    )  # fmt: skip
    assert fits.shots == 0
    with pytest.raises(DataError):
        fit_shots(
            benchmark(),
            settings(score=ChoiceScore.answer, prompt="bare", shots=0,
                     max_prompt_tokens=len(asked.ids) + longest - 2),
            tiny,
        )  # fmt: skip


def test_a_tokenizer_without_letters_is_one_line():
    words = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))  # every text is one token
    blind = SimpleNamespace(backend_tokenizer=words, bos_token_id=None, eos_token_id=0)
    with pytest.raises(ModelError, match=r"does not give the letters A to D different tokens"):
        fit_shots(benchmark(), settings(), blind)
