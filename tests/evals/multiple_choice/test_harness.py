"""The same questions through EleutherAI's lm-evaluation-harness: the same answers."""

from importlib.util import find_spec

import pytest
import torch

from anima_exp.config import MultipleChoiceConfig
from anima_exp.evals.multiple_choice.measure import export, multiple_choice, prepare_benchmark

SUBJECTS = ["anatomy", "marketing", "world_religions", "computer_security"]
TASK = """
task: ours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{input}}}}"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: output
num_fewshot: 0
metric_list: [{{metric: acc}}]
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="pip install lm-eval")
def test_lm_evaluation_harness_finds_the_same_letters_likeliest(shared_data, tmp_path):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(shared_data / "tokenizers" / "llama")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128,
            num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=2048,
        )
    ).eval()  # fmt: skip
    folder = str(shared_data / "eval" / "mmlu" / "csv")
    config = MultipleChoiceConfig(source="", path=folder, prompt="mmlu", subjects=SUBJECTS)
    ready = prepare_benchmark("mmlu", config, tokenizer)
    with torch.no_grad():
        ours = multiple_choice(model, ready)

    export(ready, tmp_path / "ours.jsonl")
    (tmp_path / "ours.yaml").write_text(TASK.format(file=tmp_path / "ours.jsonl"))
    theirs = simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, add_bos_token=True),
        tasks=["ours"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
    )
    samples = sorted(theirs["samples"]["ours"], key=lambda sample: sample["doc_id"])
    likeliest = [
        max(range(4), key=lambda choice, s=sample: s["filtered_resps"][choice][0])
        for sample in samples
    ]
    assert len(likeliest) > 50
    assert likeliest == ours.chosen
    assert theirs["results"]["ours"]["acc,none"] == pytest.approx(ours.accuracy.micro.mean)
