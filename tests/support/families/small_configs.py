"""Build any family's config so small that a trial takes seconds."""

from typing import Any

import torch

VOCABULARY = 97
MOST_PARAMETERS = 3_000_000


class CannotBuildError(Exception):
    """A family that cannot be built small; the text says why."""


def _named(value: int, *names: str) -> dict[str, int]:
    return dict.fromkeys(names, value)


# A whole number of any config by this name becomes this value.
_SMALL = {
    **_named(
        VOCABULARY,
        "vocab_size", "decoder_vocab_size", "vocab_size_per_layer_input", "unpadded_vocab_size",
    ),
    **_named(
        64,
        "hidden_size", "d_model", "n_embd", "embedding_dim", "emb_dim", "embedding_size",
        "word_embed_proj_dim", "attention_hidden_size", "lru_width", "mamba_d_ssm",
        "input_embedding_size", "output_embedding_size",
    ),
    **_named(
        96,
        "intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "dim_ff", "dff",
        "ffn_hidden_size", "intermediate_size_mlp", "feed_forward_size", "d_inner",
        "dense_intermediate_size",
    ),
    **_named(
        64,
        "moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size",
        "shared_experts_intermediate_size", "moe_shared_expert_intermediate_size",
        "expert_ffn_hidden_size", "router_hidden_size",
    ),
    **_named(
        2,
        "num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers",
        "encoder_layers", "num_encoder_layers", "num_decoder_layers", "num_blocks",
        "depth",
    ),
    **_named(
        4,
        "num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads",
        "encoder_attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads",
        "attention_heads", "swa_num_attention_heads", "linear_num_value_heads",
        "linear_num_heads", "index_n_heads",
    ),
    **_named(
        2,
        "num_key_value_heads", "swa_num_key_value_heads", "num_kv_heads", "linear_num_key_heads",
        "num_query_groups",
    ),
    **_named(
        16,
        "head_dim", "swa_head_dim", "kv_channels", "dim_head", "d_head", "attention_head_size",
        "linear_key_head_dim", "linear_value_head_dim", "linear_head_dim", "v_head_dim",
        "index_head_dim", "kv_lora_rank", "global_head_dim",
    ),
    **_named(
        4,
        "num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts",
    ),
    **_named(
        2,
        "num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k",
    ),
    **_named(
        1,
        "n_group", "num_expert_group", "topk_group", "n_shared_experts", "num_shared_experts",
        "moe_num_shared_experts", "first_k_dense_replace", "num_dense_layers", "n_groups",
        "mamba_n_groups", "mamba_ngroups", "max_window_layers", "moe_layer_start_index",
        "moe_layer_end_index",
    ),
    **_named(8, "qk_rope_head_dim", "qk_nope_head_dim", "rotary_dim"),
    **_named(16, "qk_head_dim", "mamba_d_state", "state_size", "ssm_state_size"),
    **_named(
        4, "mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "mamba_dt_rank", "time_step_rank",
    ),
    **_named(32, "mamba_d_head", "mamba_head_dim", "mamba_headdim"),
    **_named(
        128,
        "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length",
        "max_target_positions", "model_max_length", "original_max_position_embeddings",
    ),
    **_named(
        32, "q_lora_rank", "o_lora_rank", "hidden_size_per_layer_input", "ple_embed_dim",
        "hc_lowrank", "prompt_mid_dim",
    ),
    **_named(8, "laurel_rank", "adapter_rank", "gated_norm_rank", "index_topk", "hidden_act_rank"),
    **_named(
        8, "sliding_window", "attention_window_size", "window_size", "sliding_window_size",
        "local_attention", "local_attention_window_len",
    ),
    **_named(16, "attention_chunk_size", "mamba_chunk_size", "chunk_size", "block_size"),
    **_named(
        4, "floor_scale", "keep_window_size", "log_scaling_n_floor", "rel_extent",
        "index_block_size",
    ),
    **_named(
        2, "index_topk_blocks", "interleave_moe_layer_step",
    ),
    **_named(
        0, "num_nextn_predict_layers", "num_kv_shared_layers", "mtp_num_hidden_layers",
        "num_mtp_layers",
    ),
    "query_pre_attn_scalar": 16,
}  # fmt: skip

# What a family needs beside those.
_MLA = {"num_key_value_heads": 4, "head_dim": 8, "qk_head_dim": 16}
_FULL = {"layer_types": ["full_attention"] * 2}
_QWEN4 = {
    "ngram_vocab_size_base": 50, "split_ngram_parts": 2, "indexer_n_heads": 2,
    "indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 8,
    "indexer_compress_ratio": 4,
}  # fmt: skip
_OWN: dict[str, dict[str, Any]] = {
    "bailing_hybrid": _MLA,
    "kimi_linear": _MLA,
    "minicpm3": _MLA,
    "glm4_moe_lite": _MLA,
    "bamba": {"attn_layer_indices": [1]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "moshi": {"sliding_window": 128},  # its passes without a cache have no window
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "axk1": _MLA,
    "axk2": _MLA,
    "blt": {
        "encoder_hash_byte_group_vocab": 50, "encoder_hash_byte_group_size": [3, 4],
        "patch_in_forward": False,
    },
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": _MLA | {"num_experts_per_tok": 2},
    "deepseek_v3": _MLA,
    "deepseek_v32": _MLA,
    "deepseek_v4": {
        "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4},
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "dots1": {"num_key_value_heads": 4, "n_routed_experts": 4, "n_shared_experts": 1} | _FULL
    | {"num_experts_per_tok": 2},
    "dots3_note_text": _MLA | {"head_dim": 16},
    "dots3_note": {"text_config": _MLA | {"head_dim": 16}},
    "falcon_h1": {"mamba_d_head": 16},
    "gemma3n_text": {"intermediate_size": [96, 96]},
    "glm_moe_dsa": _MLA,
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "longcat_flash": _MLA | {"zero_expert_num": 2},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "ministral": {"head_dim": 16},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 16},
    "qwen4_exp": {"text_config": _QWEN4},
    "qwen4_exp_text": _QWEN4,
    "reformer": {"axial_pos_shape": [8, 16], "axial_pos_embds_dim": [32, 32]},
    "roc_bert": {
        "shape_vocab_size": 30, "shape_embed_dim": 32, "pronunciation_vocab_size": 30,
        "pronunciation_embed_dim": 32,
    },
    "xmod": {"default_language": "en_XX"},
    "youtu": _MLA,
    "zamba": {
        "num_hidden_layers": 4, "attention_hidden_size": 128, "attention_head_dim": 32,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
    "zamba2": {
        "num_hidden_layers": 4, "n_mamba_heads": 4, "num_key_value_heads": 4,
        "attention_hidden_size": 128, "attention_head_dim": 32, "mamba_headdim": 32,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip

# Vision towers and such, which text does not pass through.
_TOWER = {
    **_named(32, "hidden_size", "d_model", "embed_dim", "output_dim"),
    "num_attention_heads": 2,
    **_named(1, "num_hidden_layers", "encoder_layers", "depth"),
    "image_size": 28,
    "patch_size": 14,
}

_RAW = ("attn_config", "ffn_config")  # given as plain tables

_LAYER_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers")
_LAYER_KINDS = ("layer_types", "layers_block_type", "block_types")


def small_config(family: str) -> Any:
    """Return the config of `family` with few layers and narrow widths.

    Raises:
        CannotBuildError: if transformers refuses every small config that is known here.
    """
    from transformers import CONFIG_MAPPING

    return _small(CONFIG_MAPPING[family], _OWN.get(family, {}))


def small_model(family: str, **how: Any) -> Any:
    """Build `family` from its small config with random weights.

    Raises:
        CannotBuildError: if it cannot be built, or is not small.
    """
    import transformers

    torch.manual_seed(0)
    try:
        config = small_config(family)
        with torch.device("meta"):
            empty = transformers.AutoModelForCausalLM.from_config(config)
    except ImportError as error:
        raise CannotBuildError("it needs packages for images, which are not installed") from error
    except Exception as error:  # each class has its own
        raise CannotBuildError(f"{type(error).__name__}: {first(error)}") from error
    count = sum(one.numel() for one in empty.parameters())
    if count > MOST_PARAMETERS:
        largest = max(empty.named_parameters(), key=lambda one: one[1].numel())
        raise CannotBuildError(
            f"its small config still has {count:,} parameters: {largest[0]} {[*largest[1].shape]}"
        )
    return transformers.AutoModelForCausalLM.from_config(config, **how)


def first(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def _small(kind: Any, own: dict[str, Any], *, tower: bool = False) -> Any:
    parts = dict(getattr(kind, "sub_configs", {}) or {})
    default = _default(kind, own)
    values = default.to_dict()
    chosen: dict[str, Any] = {}
    for name, value in values.items():
        if name in parts or isinstance(value, bool):
            continue
        if isinstance(value, int) and name in (small := _SMALL | (_TOWER if tower else {})):
            chosen[name] = small[name]
    for name in parts:
        if not isinstance(values.get(name), dict):
            continue
        if name in _RAW:
            if name in own:
                chosen[name] = own[name]
            continue
        text = name in ("text_config", "decoder")
        chosen[name] = _small(
            type(getattr(default, name)), own.get(name, {}), tower=not text
        ).to_dict()
    chosen |= _layer_lists(values, chosen)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if name in values:
            chosen[name] = ("pad_token_id", "bos_token_id", "eos_token_id").index(name)
    for name in ("dropout", "attention_dropout", "activation_dropout", "resid_pdrop", "embd_pdrop",
                 "attn_pdrop", "hidden_dropout", "hidden_dropout_prob", "layerdrop",
                 "attention_probs_dropout_prob", "embed_dropout", "resid_dropout",
                 "classifier_dropout", "summary_last_dropout", "decoder_layerdrop",
                 "encoder_layerdrop", "residual_dropout", "embedding_dropout"):  # fmt: skip
        if isinstance(values.get(name), float):
            chosen[name] = 0.0
    for name in ("initializer_range", "init_std"):
        if isinstance(values.get(name), float):
            chosen[name] = 0.2  # rows of large logits, so that a mistake shows
    if "is_decoder" in values:
        chosen["is_decoder"] = True
    chosen |= {name: value for name, value in own.items() if name not in parts}
    return kind(**chosen)


def _default(kind: Any, own: dict[str, Any]) -> Any:
    try:
        return kind()
    except Exception:
        return kind(**{name: value for name, value in own.items() if not isinstance(value, dict)})


def _layer_lists(values: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Return lists with one entry for each layer, such that every kind of layer occurs."""
    counted = next((name for name in _LAYER_COUNTS if isinstance(values.get(name), int)), None)
    if counted is None:
        return {}
    before = values[counted]
    found: dict[str, Any] = {}
    layers = chosen[counted]
    for name in _LAYER_KINDS:
        kinds = values.get(name)
        if isinstance(kinds, list) and len(kinds) == before and isinstance(kinds[0], str):
            each = list(dict.fromkeys(kinds))
            layers = max(layers, len(each))
            found[name] = (each * layers)[:layers]
    found[counted] = layers
    for name, value in values.items():
        if isinstance(value, list) and len(value) == before > layers and name not in found:
            found[name] = value[:layers]
    return found


def causal_families() -> list[str]:
    """Return the model types that AutoModelForCausalLM knows."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
