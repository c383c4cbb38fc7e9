"""Translate settings of qlora.py, TRL, axolotl and LLaMA-Factory into ours.

An answer names our setting, or says that there is none and why. Below it stand the names that it
is for. tests/test_other_names.py holds every setting and file that an answer names against conf/.
"""

from collections.abc import Container

_OF_TRAINING = """
The learning rate is optimizer.learning_rate.
    lr learningrate base_lr max_lr peak_lr initial_lr
trainer.batch_size is the whole batch of an optimizer step, over all devices. A pass takes as many
of its tokens as fit: see trainer.max_tokens_per_micro_batch.
    micro_batch_size per_device_train_batch_size per_gpu_train_batch_size
    gradient_accumulation_steps gradient_accumulation grad_accum accumulation_steps
    accumulate_grad_batches train_batch_size global_batch_size total_batch_size
    effective_batch_size
Evaluation has batches of its own: evals.heldout.batch_tokens, evals.exact_match.batch_size.
    per_device_eval_batch_size eval_batch_size
A conversation has the limit data.max_tokens. In other rows, prompt and response have a limit
each: data.max_prompt_tokens, data.max_response_tokens.
    max_seq_length max_seq_len max_length max_len cutoff_len sequence_len sequence_length seq_len
    seq_length block_size model_max_length model_max_len context_length max_sequence_length
    truncation
What becomes of a longer conversation is data.too_long=cut_end, drop_oldest, split or drop_row.
    truncation_mode truncation_strategy truncation_side excess_length_strategy
It is data.max_prompt_tokens.
    source_max_len max_source_length max_prompt_length
It is data.max_response_tokens.
    target_max_len max_target_length max_completion_length
Rows are always concatenated: see trainer.max_tokens_per_micro_batch.
    packing sample_packing pack eval_packing eval_sample_packing neat_packing padding_free
    pad_to_sequence_len multipack
Passes over the data are trainer.num_epochs.
    epoch epochs num_train_epochs num_epochs n_epochs max_epochs train_epochs
Optimizer steps are trainer.max_steps.
    max_steps steps num_steps train_steps training_steps total_steps max_iters
It is trainer.precision=bf16, fp16 or fp32.
    bf16 fp16 fp32 tf32 bfloat16 float16 mixed_precision torch_dtype dtype amp half pure_bf16
runs_dir=FOLDER is where run folders are made; run_dir=FOLDER names this run's own.
    output_dir output_directory output_path out_dir save_dir output
There is none, because a run with the same settings is resumed, or is done already. run_dir=NAME
starts another.
    overwrite_output_dir overwrite
It is lora.rank.
    lora_r r lora_rank rank
It is lora.alpha.
    lora_alpha alpha
Name the layers with lora.target_modules=named lora.modules=[q_proj,v_proj], or choose a set with
lora=all_linear, attention, attention_qv, key_query, ffn or attention_ffn_out.
    target_modules lora_target lora_target_modules lora_target_linear lora_modules targets peft
    peft_type use_peft lora_layers
It is model.adapter=FOLDER_OR_HUB_ID, which is trained further.
    adapter_name_or_path lora_model_dir peft_model_id adapter_path pretrained_adapter lora_weights
It is optimizer.lora_plus_ratio.
    loraplus_lr_ratio lora_plus loraplus
It is lora.dropout.
    lora_dropout
It is lora.variant=dora or lora.variant=rslora.
    use_dora dora peft_use_dora use_rslora rslora peft_use_rslora
It is lora.init=kaiming, pissa, olora, loftq or eva.
    init_lora_weights pissa pissa_init peft_init_lora_weights loftq loftq_config eva_config
It is lora.train_embeddings=true for embeddings and head, and lora.save_modules for others.
    modules_to_save lora_modules_to_save additional_target
It is lora.rank_pattern=[NAME:RANK], and lora.alpha_pattern=[NAME:ALPHA].
    rank_pattern alpha_pattern
A regular expression in lora.modules may name layers by number.
    layers_to_transform peft_layers_to_transform layers_pattern
There is none, because runs train LoRA only.
    loraplus_lr lora_bias bias relora galore use_galore prompt_tuning
It is quant=nf4 or quant=fp4.
    load_in_4bit use_4bit bits quantization_bit quantization
It is quant=int8.
    load_in_8bit use_8bit
The type of 4-bit weights is quant.type, that of products quant.compute_dtype.
    bnb_4bit_quant_type quant_type quantization_type bnb_4bit_compute_dtype
It is quant.double_quant.
    bnb_4bit_use_double_quant use_bnb_nested_quant use_nested_quant double_quantization
    use_double_quant
Full fine-tuning is lora=full_finetune quant=none.
    full_finetune full_finetuning full_fine_tuning finetuning_type freeze
It is optimizer.warmup_steps, or optimizer.warmup_ratio as a share of the steps.
    warmup_steps num_warmup_steps warmup lr_warmup_steps warmup_iters
It is optimizer.warmup_ratio.
    warmup_ratio warmup_fraction
It is optimizer.schedule=constant, linear, cosine or warmup_stable_decay.
    lr_scheduler_type lr_scheduler scheduler lr_schedule schedule
It is optimizer.min_learning_rate_ratio, a share of optimizer.learning_rate.
    min_lr min_learning_rate min_lr_ratio cosine_min_lr_ratio lr_scheduler_kwargs lr_min eta_min
It is optimizer=paged_adamw_32bit, paged_adamw_8bit or adamw.
    optim optimiser optimizer_type optimizer_name adam8bit opt
It is optimizer.beta1 and optimizer.beta2.
    betas adam_beta1 adam_beta2
It is optimizer.epsilon.
    adam_epsilon eps adam_eps optimizer_eps
It is optimizer.weight_decay.
    weight_decay wd decay
It is optimizer.max_grad_norm.
    max_grad_norm gradient_clipping grad_clip clip_grad_norm gradient_clip_val max_norm clip_grad
Checkpoints are written every trainer.save_every steps.
    save_steps save_strategy saves_per_epoch save_interval checkpoint_every
It is trainer.max_checkpoints.
    save_total_limit max_checkpoints keep_last save_top_k
The model is evaluated every trainer.eval_every steps.
    eval_steps evals_per_epoch eval_strategy evaluation_strategy eval_interval do_eval
    evaluate_every val_check_interval
It is trainer.eval_at_start.
    eval_on_start
It is trainer.log_every, in steps.
    logging_steps logging_strategy logging_first_step log_interval log_steps
It is trainer.activation_checkpointing=full, or none.
    gradient_checkpointing activation_checkpointing gradient_checkpointing_kwargs
    use_gradient_checkpointing checkpointing grad_checkpointing
It is model.attention=sdpa, eager or flash_attention_2.
    flash_attention flash_attn use_flash_attention_2 use_flash_attention use_flash_attn
    attn_implementation sdp_attention sdpa_attention xformers_attention eager_attention
    flash_attention_2
Choose it by name with data=NAME, or give a file: data=local data.path=FILE.
    dataset datasets dataset_name dataset_path data_path train_file train_data dataset_dir
    training_data train_dataset data_file test_datasets
Choose data=mixture, whose sets and their weights are data.parts.
    dataset_mixture mix_strategy interleave_probs data_weights sampling_weights mixture
How a row becomes an example is data.recipe.
    dataset_format ds_type prompt_strategy formatting formatting_func
The chat template of conversations is data.template. Other questions are put to the model by
data.prompt_template. Rows are read by data.recipe.
    template prompt_style prompt_format chat_template chat_template_path chat_template_jinja
    conversation_template conv_template
data.recipe=messages and data.recipe=sharegpt read the common names of roles and fields.
    roles role_mapping role_field content_field message_property_mappings message_field_role
    message_field_content field_messages messages_field field_human field_model role_tag
    content_tag user_tag assistant_tag
A system prompt and tools stand in each row, where data.recipe=messages reads them.
    default_system tool_format system_prompt system_message field_system field_tools
Thinking is data.thinking=template, keep or drop.
    enable_thinking split_thinking drop_thinking keep_thinking reasoning_effort
It is data.special_tokens_in_text=text or error.
    split_special_tokens
Rows set aside for evaluation are data.heldout_rows.
    val_size val_set_size eval_dataset_size validation_split_percentage test_size eval_size
    validation_size eval_num_samples
It is data.heldout_path.
    validation_file eval_file eval_data val_file val_data
It is data.heldout_split.
    eval_dataset dataset_test_split val_split test_split
It is data.split.
    dataset_train_split train_split dataset_split
It is data.subset.
    dataset_config dataset_config_name
It is evals.heldout.max_rows.
    max_eval_samples max_eval_rows
It is data.max_train_rows.
    max_samples max_train_rows num_train_samples
The loss on everything is data.train_on=all for conversations, and data.train_on_source=true for
other rows.
    train_on_inputs train_on_prompt completion_only_loss mask_prompt train_on_completions
What is trained on in conversations is data.train_on=assistant, last, all or message.
    assistant_only_loss train_on_responses_only mask_history roles_to_train train_on_last_turn_only
    message_field_training train_on_assistant
There is none, because the token that ends an answer is always trained on.
    train_on_eos train_on_eot eot_tokens
There is none, because rows are tokenized once and kept in the cache.
    preprocessing_num_workers dataloader_num_workers dataset_num_proc num_workers dataset_processes
    num_proc overwrite_cache streaming dataloader_pin_memory dataset_prepared_path
    remove_unused_columns dataloader_drop_last dataloader_prefetch_factor dataset_text_field
Choose it by name with model=NAME, or model=local model.source=FOLDER_OR_HUB_ID.
    model_name_or_path base_model model_name pretrained_model_name_or_path model_id model_path
    base_model_name_or_path name_or_path checkpoint_dir base_model_config model_type hf_model
    pretrained
It is model.tokenizer.
    tokenizer_name tokenizer_path tokenizer_name_or_path
It is model.revision.
    model_revision revision_of_model
It is model.max_memory_gib, with model.device_map=auto.
    max_memory_mb max_memory
It is tracking=wandb, tensorboard, mlflow, trackio or none; several: tracking=[wandb,tensorboard].
    report_to use_wandb wandb wandb_mode logger tensorboard use_tensorboard mlflow use_mlflow
    trackio use_trackio swanlab use_swanlab logging_dir tensorboard_dir wandb_log_model wandb_watch
It is tracking.mlflow_uri.
    mlflow_tracking_uri
It is tracking.trackio_space.
    trackio_space_id
It is tracking.project.
    wandb_project project_name
It is tracking.entity.
    wandb_entity
It is tracking.group.
    wandb_group
It is tracking.tags.
    wandb_tags
A run is named by its settings; run_dir=FOLDER names its folder.
    run_name wandb_run_name wandb_name wandb_run_id experiment_name exp_name
There is none, because a run resumes by itself: run the same command again.
    resume_from_checkpoint auto_resume_from_checkpoints resume auto_resume ignore_data_skip
    from_checkpoint ckpt_path
There is none, because the base is split by FSDP: trainer.fsdp=true.
    deepspeed deepspeed_config ds_config zero_stage fsdp fsdp_config
    fsdp_transformer_layer_cls_to_wrap tensor_parallel_size tensor_parallel context_parallel_size
    sequence_parallel_degree zero parallelism_config
Processes that share a batch, one on each GPU, are trainer.num_gpus.
    num_gpus n_gpus n_gpu ngpus nproc_per_node num_processes devices world_size gpu_ids ddp
    ddp_find_unused_parameters ddp_timeout accelerator
There is none: a run takes the GPU if there is one. CUDA_VISIBLE_DEVICES chooses which.
    device use_cpu no_cuda cuda local_rank gpu
Batches of similar length are trainer.group_by_length.
    group_by_length length_column_name
It is trainer.liger.
    use_liger_kernel use_liger liger_kernel enable_liger_kernel
There is none, because torch.compile is not used.
    torch_compile compile use_compile
There is none, because the kernels of a run are its own.
    use_unsloth unsloth
It is trainer.patience, in evaluations. sweep.early_stopping=asha stops the weak cells of a sweep.
    early_stopping early_stopping_patience early_stopping_threshold early_stop patience
It is trainer.keep_best=SCORE, as trainer.keep_best=heldout_loss.
    load_best load_best_model_at_end load_best_model metric_for_best_model greater_is_better
    save_best save_best_model keep_best
There is none, because the loss is the plain cross-entropy of the labels.
    label_smoothing_factor label_smoothing neftune_noise_alpha neftune noisy_embedding_alpha
    dft_loss loss_type
There is none, because runs are supervised fine-tuning only.
    stage rl dpo dpo_beta pref_beta pref_loss reward_model ref_model kto orpo grpo finetuning_stage
There is none: anima-exp publish sends a finished run to the hub.
    push_to_hub hub_model_id hub_strategy hub_private_repo upload
A token is no setting: use `hf auth login` or HF_TOKEN in the environment.
    hf_token hub_token use_auth_token hf_use_auth_token token hf_hub_token
There is none, because the tokenizer and its embeddings stay as the base has them.
    resize_token_embeddings resize_vocab special_tokens add_tokens new_special_tokens
    embedding_learning_rate added_tokens_overrides
There is none, because a run keeps the context that the base was made for.
    rope_scaling rope_theta shift_attn s2_attention rope
Choose evaluations with evals=[heldout,mmlu].
    do_mmlu_eval do_mmlu mmlu_dataset do_bench_eval eval_tasks tasks
They are evals.mmlu.split, evals.mmlu.max_questions and evals.mmlu.max_prompt_tokens.
    mmlu_split max_mmlu_samples mmlu_source_max_len
It is evals.exact_match, or evals.answers: evals=[exact_match,answers].
    predict_with_generate eval_table_size do_causal_lm_eval generation_max_length
It is cache_dir.
    hf_cache_dir cache_folder
It is seed.
    seed random_seed rng_seed manual_seed full_determinism
The order of rows follows seed; data.heldout_seed chooses the rows set aside.
    data_seed dataset_shuffle_seed shuffle shuffle_dataset shuffle_merged_datasets
It is model.norms_in_fp32.
    upcast_layernorm norm_in_fp32
"""

# The same for the commands that write answers, and for those that write to `out`.
_OF_ANSWERS = """
It is max_new_tokens.
    max_length max_tokens max_gen_len max_new_token generation_max_length
It is prompt_template.
    template chat_template prompt_format prompt_style
It is questions=FILE.
    dataset datasets data_path input_file input prompts_file
There is none: answers are drawn by temperature and top_p, and temperature=0 is greedy.
    top_k num_beams do_sample repetition_penalty min_p presence_penalty greedy
It is prompt=TEXT.
    question text message instruction query
"""

_OF_OUT = """
It is out=PLACE.
    output output_dir output_path output_file out_dir save_dir export_dir
"""


def _by_name(table: str) -> dict[str, str]:
    result: dict[str, str] = {}
    answer, complete = "", True
    for line in table.strip().splitlines():
        if line.startswith(" "):
            result |= dict.fromkeys(line.split(), answer)
            complete = True
        else:
            answer = line if complete else f"{answer} {line}"
            complete = False
    return result


_TRAINING_NAMES = _by_name(_OF_TRAINING)
_ANSWERS_NAMES = _by_name(_OF_ANSWERS)
_OUT_NAMES = _by_name(_OF_OUT)


def answer(key: str, known: Container[str]) -> str | None:
    """Return the advice for a key that is ours by another name, with or without a group before it.

    `trainer.lr` -> "The learning rate is optimizer.learning_rate."; None for an unknown name.

    Args:
        known: the settings of the command.
    """
    name = key.rpartition(".")[2].lower().replace("-", "_")
    result = None
    if "max_new_tokens" in known:
        result = _ANSWERS_NAMES.get(name)
    if "out" in known:
        result = result or _OUT_NAMES.get(name)
    return result or (_TRAINING_NAMES.get(name) if "trainer.max_steps" in known else None)
