"""transformers still has what libraries/transformers_internals.py uses; a test names each part."""

from types import SimpleNamespace

import pytest
import torch
from support.small_models import small
from support.tiny_llama import tiny_llama
from transformers import (
    DynamicCache,
    Gemma3nTextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MambaForCausalLM,
    PretrainedConfig,
)
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.pytorch_utils import Conv1D

from anima_exp.libraries import transformers_internals as internals

FALCON_H1 = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}
IDS = torch.tensor([[1, 5, 9, 2]])


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


def cache_of(model, ids):
    found = internals.cache_in(model(input_ids=ids, use_cache=True))
    assert found is not None
    return found


def test_an_argument_of_attention_that_is_not_known_counts():
    assert internals.changes_attention("softcap", 50.0)
    assert internals.changes_attention("is_causal", False)
    assert not internals.changes_attention("softcap", None)
    assert not internals.changes_attention("position_ids", IDS)


def test_a_layer_of_llama_4_knows_its_chunk():
    model = small("llama4", layer_types=["chunked_attention", "full_attention"])
    layers = [layer.self_attn for layer in model.model.layers]
    assert [internals.chunk_of(layer) for layer in layers] == [16, None]


@pytest.mark.parametrize(
    ("family", "mixers"),
    [("llama", set()), ("mamba2", {"mixer"}), ("falcon_h1", {"mamba"}), ("lfm2", {"conv"}),
     ("rwkv", {"attention", "feed_forward"})],
)  # fmt: skip
def test_modules_that_mix_tokens_are_known(family, mixers):
    how = {"layer_types": ["conv", "full_attention"]} if family == "lfm2" else {}
    how |= FALCON_H1 if family == "falcon_h1" else {}
    names = [
        name for name, module in small(family, **how).named_modules()
        if internals.mixes_tokens(module)
    ]  # fmt: skip
    assert {name.rpartition(".")[2] for name in names} == mixers


def test_a_family_says_whether_it_has_activation_checkpointing(llama):
    from transformers import CTRLConfig, CTRLLMHeadModel

    shape = {"vocab_size": 9, "n_embd": 8, "dff": 8, "n_layer": 1, "n_head": 1}
    ctrl = CTRLLMHeadModel(CTRLConfig(**shape))
    assert internals.can_checkpoint(llama) and not internals.can_checkpoint(ctrl)
    with pytest.raises(ValueError, match="does not support"):
        internals.set_activation_checkpointing(ctrl, {"use_reentrant": False})


def test_rwkv_leaves_its_weights_alone_when_it_is_told_to():
    model = small("rwkv", num_hidden_layers=7).eval()  # it halves from the sixth layer on
    weight = model.rwkv.blocks[6].attention.output.weight
    before = weight.detach().clone()
    with torch.no_grad():
        model(input_ids=IDS, use_cache=False)
    assert not torch.equal(weight, before)
    model = small("rwkv", num_hidden_layers=7).eval()
    internals.keep_weights(model)
    with torch.no_grad():
        model(input_ids=IDS, use_cache=False)
    assert torch.equal(model.rwkv.blocks[6].attention.output.weight, before)


def test_gemma_3n_does_not_clip_its_weights_when_it_is_told_not_to():
    config = Gemma3nTextConfig()
    assert config.altup_coef_clip
    internals.keep_weights(SimpleNamespace(config=config))
    assert config.altup_coef_clip is None


def test_the_mapping_of_families_says_which_computes_sdpa():
    assert internals.family_takes_sdpa(LlamaConfig()) is True
    assert internals.family_takes_sdpa(PretrainedConfig()) is None


def test_a_family_without_sdpa_says_so():
    from transformers import BloomConfig

    assert internals.family_takes_sdpa(BloomConfig()) is False


def test_attention_goes_through_the_function_whose_name_the_config_has(llama):
    seen = []

    def attention(module, query, key, value, attention_mask, *, scaling, micro_batch, **_):
        seen.append((query.shape, key.shape, attention_mask, scaling, micro_batch))
        return torch.zeros(1, query.shape[2], query.shape[1], query.shape[3]), None

    with internals.attention_by(llama.config, "contract_attention", attention):
        assert internals.attention_of(llama.config) == "contract_attention"
        llama.model(input_ids=IDS, use_cache=False, micro_batch="ours")
    assert seen == [((1, 2, 4, 16), (1, 1, 4, 16), None, 0.25, "ours")] * 2
    assert internals.attention_of(llama.config) == "sdpa"


def test_attention_that_is_registered_alone_gets_no_mask():
    assert "sdpa" in ALL_MASK_ATTENTION_FUNCTIONS
    assert "contract_attention" not in ALL_MASK_ATTENTION_FUNCTIONS


def test_activation_checkpointing_takes_the_settings_of_torch(recwarn):
    llama, called = tiny_llama(), []

    def contexts():
        called.append(True)
        return torch.utils.checkpoint.noop_context_fn()

    internals.set_activation_checkpointing(llama, {"use_reentrant": False, "context_fn": contexts})
    llama.train()
    llama(input_ids=IDS, use_cache=False).logits.sum().backward()
    assert len(called) == 2
    internals.set_activation_checkpointing(llama, None)
    llama(input_ids=IDS, use_cache=False)
    assert len(called) == 2
    assert not [one for one in recwarn if "checkpointing" in str(one.message)]


def test_gpt2_keeps_its_matrices_in_conv1d():
    layer = Conv1D(3, 2)
    assert internals.is_conv1d(layer)
    assert (layer.weight.shape, layer.nx, layer.nf) == ((2, 3), 2, 3)


def test_a_forward_pass_can_leave_out_early_logits(llama):
    assert internals.keeps_logits(llama)
    assert llama(input_ids=IDS, logits_to_keep=1).logits.shape == (1, 1, 31)


def test_a_forward_pass_takes_and_gives_the_cache_by_the_name_that_it_has(llama):
    with torch.no_grad():
        whole = llama(input_ids=IDS).logits
        cache = cache_of(llama, IDS[:, :3])
        last = llama(input_ids=IDS[:, 3:], **{internals.cache_argument(llama): cache}).logits
    assert torch.allclose(last, whole[:, 3:], atol=1e-5)


def test_the_cache_of_a_family_without_attention_is_left_out():
    config = MambaConfig(vocab_size=31, hidden_size=16, num_hidden_layers=1, state_size=2)
    output = MambaForCausalLM(config)(input_ids=IDS, use_cache=True)
    assert {"cache", "cache_params"} & {*output}
    assert internals.cache_in(output) is None


def test_a_forward_pass_without_a_cache_gives_none(llama):
    assert internals.cache_in(llama(input_ids=IDS, use_cache=False)) is None


def test_rows_leave_a_cache_in_all_of_its_layers(llama):
    cache = cache_of(llama, IDS.repeat(3, 1))
    assert internals.can_drop_rows(cache)
    internals.keep_rows(cache, torch.tensor([0, 2]))
    assert [layer.keys.shape[0] for layer in cache.layers] == [2, 2]


def test_a_layer_that_cannot_drop_rows_lacks_the_method():
    class Whole:
        layers = (object(),)

        def batch_select_indices(self, chosen): ...

    assert not internals.can_drop_rows(Whole())


def test_a_cache_holds_keys_and_values_layer_by_layer(llama):
    cache = cache_of(llama, IDS)
    assert isinstance(cache, DynamicCache)
    kept = internals.kept_by(cache)
    assert [(keys.shape, values.shape) for keys, values in kept] == [((1, 1, 4, 16),) * 2] * 2


def test_a_layer_with_a_window_is_of_another_class():
    from transformers import MistralConfig, MistralForCausalLM

    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=31, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=1, sliding_window=2,
        )
    )  # fmt: skip
    assert internals.kept_by(cache_of(model, IDS)) is None


def test_a_cache_of_our_layers_goes_on_from_a_prefix_for_every_row(llama):
    rests = torch.tensor([[9, 2], [7, 3]])
    with torch.no_grad():
        prefix = IDS[:, :2]
        kept = internals.kept_by(cache_of(llama, prefix))
        found = llama(
            input_ids=rests,
            attention_mask=torch.ones(2, 4),
            position_ids=torch.tensor([[2, 3]]).expand(2, -1),
            use_cache=True,
            **{internals.cache_argument(llama): internals.cache_behind(kept)},
        ).logits
        whole = llama(input_ids=torch.cat([prefix.expand(2, -1), rests], dim=1)).logits
    assert torch.allclose(found, whole[:, 2:], atol=1e-5)
    assert kept[0][0].shape == (1, 1, 2, 16)  # nothing was written to the prefix


def test_the_patterns_of_old_weights_are_compiled_by_one_call():
    internals.prepare_conversions()


def test_a_family_of_state_space_models_is_in_the_mapping():
    assert internals.family_takes_sdpa(MambaConfig()) in (True, False)
    assert internals.family_takes_sdpa(GPT2Config()) is True


def test_rows_leave_a_cache_whose_layers_are_on_several_devices(llama):
    cache, seen = cache_of(llama, IDS.repeat(3, 1)), []
    second = cache.layers[1]
    second.keys, second.values = (one.to("meta") for one in (second.keys, second.values))
    select = second.batch_select_indices

    def watched(indices):
        seen.append(indices.device.type)
        select(indices)

    second.batch_select_indices = watched
    internals.keep_rows(cache, torch.tensor([0, 2]))
    assert seen == ["meta"]
    assert [len(layer.keys) for layer in cache.layers] == [2, 2]
