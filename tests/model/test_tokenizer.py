"""The tokenizer trained with: its special tokens right, its absence told in one line."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from anima_exp.config import ModelConfig, Recommended
from anima_exp.errors import ModelError
from anima_exp.model.tokenizer import check_ids, load_tokenizer

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def save(folder, *specials, **named):
    vocabulary = {token: number for number, token in enumerate([*specials, *ALPHABET])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(specials))
    PreTrainedTokenizerFast(tokenizer_object=backend, **named).save_pretrained(folder)
    return load(folder)


def load(source):
    recommended = Recommended(learning_rate=1e-4, lora_dropout=0.0)
    return load_tokenizer(ModelConfig(name="x", source=str(source), recommended=recommended))


def test_llama_pads_with_a_token_it_has(tmp_path):
    tokenizer = save(
        tmp_path, "<unk>", "<s>", "</s>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    assert (tokenizer.pad_token, tokenizer.padding_side) == ("<unk>", "right")
    assert len(tokenizer) == 3 + len(ALPHABET)


def test_an_old_llama_conversion_finds_its_tokens_again(tmp_path):
    tokenizer = save(tmp_path, "<unk>", "<s>", "</s>")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)


def test_a_tokenizer_without_a_spare_token_pads_with_eos(tmp_path):
    tokenizer = save(tmp_path, "<|endoftext|>", eos_token="<|endoftext|>")
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.bos_token_id is None


def test_a_tokenizer_that_cannot_end_an_answer_is_refused(tmp_path):
    with pytest.raises(ModelError, match="has no end-of-sequence token"):
        save(tmp_path)


def test_a_folder_without_a_tokenizer_is_told_in_one_line(tmp_path):
    with pytest.raises(ModelError) as error:
        load(tmp_path)
    assert str(error.value).startswith(
        f"model.source={tmp_path}: the folder holds no tokenizer.json"
    )
    assert "\n" not in str(error.value)


def test_another_tokenizer_is_named_by_its_own_setting(tmp_path):
    recommended = Recommended(learning_rate=1e-4, lora_dropout=0.0)
    model = ModelConfig(name="x", source="tiny", tokenizer="/nowhere", recommended=recommended)
    with pytest.raises(ModelError, match=r"^model\.tokenizer=/nowhere: there is no such folder"):
        load_tokenizer(model)


def test_a_folder_that_is_not_there():
    with pytest.raises(ModelError, match=r"^model\.source=/nowhere: there is no such folder\.$"):
        load("/nowhere")


def test_a_hub_id_that_cannot_be_reached_names_the_ways_out():
    with pytest.raises(ModelError, match=r"no such folder, and HF_HUB_OFFLINE is set"):
        load("nobody/nothing")


def test_the_real_tokenizers(shared_data):
    llama = load(shared_data / "tokenizers" / "llama")
    assert (llama.bos_token_id, llama.eos_token_id, llama.pad_token) == (1, 2, "<unk>")
    qwen = load(shared_data / "tokenizers" / "qwen2")
    assert qwen.bos_token_id is None
    assert qwen.eos_token_id == 151643 or qwen.eos_token == "<|im_end|>"


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000, "values that are nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "a number of too many digits"),
        ("[]", "it contains a list instead of an object"),
        ('{"a": ', "Expecting value: line 1 column 7 (char 6)"),
    ],
    ids=["nested", "digits", "a list", "cut"],
)
def test_damaged_settings_of_a_model_are_one_line(tmp_path, name, content, reason):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelError) as error:
        load(tmp_path)
    assert str(error.value) == f"model.source={tmp_path}: {name} cannot be read: {reason}"


def test_a_tokenizer_that_is_nested_too_deeply_is_one_line(tmp_path):
    (tmp_path / "tokenizer.json").write_text("[" * 100_000)
    with pytest.raises(
        ModelError, match="the tokenizer in this folder cannot be loaded: maximum recursion depth"
    ):
        load(tmp_path)


@pytest.fixture
def with_base(tmp_path):
    """with_base(300) -> the same folder as a base with so many embeddings, its tokenizer loaded."""

    def _with_base(embeddings):
        config = {"model_type": "llama", "vocab_size": embeddings}
        (tmp_path / "config.json").write_text(json.dumps(config))
        return load(tmp_path)

    return _with_base


def test_an_end_token_without_an_embedding_is_refused(tmp_path, with_base):
    save(tmp_path, eos_token="<|im_end|>")
    with pytest.raises(ModelError) as error:
        with_base(256)
    assert str(error.value) == (
        f"The tokenizer of {tmp_path} does not fit the base model: it has the end-of-sequence "
        "token <|im_end|>, but the base model has embeddings for 256 ids only. Set "
        "model.tokenizer to the base model's own tokenizer, or use a base model whose embeddings "
        "were resized for this one."
    )
    assert with_base(257).eos_token_id == 256


def test_another_model_s_tokenizer_is_refused(tmp_path, with_base):
    save(tmp_path, "</s>", eos_token="</s>")
    with pytest.raises(ModelError, match=r"plain tokens up to the id 256, but .* for 200 ids only"):
        with_base(200)


def test_padding_without_an_embedding_is_replaced(tmp_path, with_base):
    save(tmp_path, "</s>", eos_token="</s>", pad_token="[PAD]")
    assert with_base(257).pad_token == "</s>"
    assert with_base(258).pad_token == "[PAD]"


def test_a_token_that_no_text_holds_may_be_beyond_the_embeddings(tmp_path, with_base):
    save(tmp_path, "</s>", eos_token="</s>", extra_special_tokens=["<image>"])
    tokenizer = with_base(257)
    check_ids([tokenizer("a text")["input_ids"], []], 257)
    with pytest.raises(ModelError, match=r"^A text holds the token id 257, but the base model"):
        check_ids([tokenizer("a <image>")["input_ids"]], 257)
