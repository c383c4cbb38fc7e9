"""Answer questions for a Python program: the answers are returned, not streamed or written."""

from collections.abc import Sequence

from anima_exp.config import GenerateConfig
from anima_exp.data import prompts
from anima_exp.distributed.process_state import borrowed
from anima_exp.errors import ConfigError
from anima_exp.inference import prompt_format
from anima_exp.inference.answers import GenerationRequest, build_prompt, seed
from anima_exp.inference.questions import Question
from anima_exp.inference.saved_model import check_base, load_saved_model, model_label
from anima_exp.model.decoding import decode
from anima_exp.model.generation import inference_mode


def answer_texts(config: GenerateConfig, texts: Sequence[str]) -> list[str]:
    """Answer each of `texts`, `config.batch_size` at a time.

    The first question gets the same answer as a single question of the `generate` command.

    Raises:
        ConfigError: if a question is empty, or the prompt format is not known.
        DataError: if a question leaves no room for an answer in the model's context.
    """
    for text in texts:
        if not text.strip():
            raise ConfigError("A question is empty. Give a text to answer.")
    prompts.check(config.prompt_template or config.data.prompt_template)
    check_base(config)
    request = GenerationRequest(
        config, prompt_format.of_config(config), model_label(config), prompt_format.of_use(config),
        config.trainer.precision,
    )  # fmt: skip
    answers: list[str] = []
    with borrowed():
        model, tokenizer = load_saved_model(config)
        numbered = list(enumerate(texts, start=1))
        for start in range(0, len(numbered), config.batch_size):
            batch = numbered[start : start + config.batch_size]
            built = [
                build_prompt(model, tokenizer, Question(n, text), request) for n, text in batch
            ]
            with inference_mode(model, request.precision):
                decoded = decode(
                    model,
                    tokenizer,
                    [prompt.ids for prompt in built],
                    request.sampling(),
                    seeds=[seed(config.sampling_seed, n) for n, _ in batch],
                )
            answers += [answer.text.strip() for answer in decoded]
    return answers
