"""Build the prompt text of a question: one function for each prompt template.

Every template takes an instruction and an optional input that belongs to it. The strings equal
those of QLoRA, trailing spaces included, because a model's answers depend on them.
"""

# The sentence that begins every prompt of Guanaco. No training row contains it.
GUANACO_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
)


def alpaca(instruction: str, input: str = "") -> str:
    """Return Stanford Alpaca's prompt, which in QLoRA ends with a space, not with a newline."""
    if input:
        return (
            "Below is an instruction that describes a task, paired with an input that provides "
            "further context. Write a response that appropriately completes the request.\n\n"
            f"### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response: "
        )
    return (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\n{instruction}\n\n### Response: "
    )


def guanaco(instruction: str, input: str = "") -> str:
    """Return one turn of OpenAssistant's dialogues, as Guanaco was trained on them."""
    return f"### Human: {plain(instruction, input)}### Assistant: "


def guanaco_chat(instruction: str, input: str = "") -> str:
    """Return the prompt of QLoRA's guanaco_generate.py."""
    return GUANACO_SYSTEM + guanaco(instruction, input)


def guanaco_benchmark(instruction: str, input: str = "") -> str:
    """Return the prompt of the Guanaco answers that QLoRA published, with its different spaces."""
    return f"{GUANACO_SYSTEM}### Human: {plain(instruction, input)} ### Assistant:"


def hh_rlhf(instruction: str, input: str = "") -> str:
    """Return one turn of Anthropic's dialogues."""
    return f"\n\nHuman: {plain(instruction, input)}\n\nAssistant:"


def metamathqa(instruction: str, input: str = "") -> str:
    """Return the prompt of PEFT's comparison of methods on MetaMathQA."""
    return f"Question: {plain(instruction, input)} Think step by step.\nAnswer:"


def plain(instruction: str, input: str = "") -> str:
    """Return the instruction unchanged."""
    return f"{instruction}\n{input}" if input else instruction
