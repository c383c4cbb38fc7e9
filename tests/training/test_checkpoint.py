from anima_exp.training import checkpoint


def make(folder, step):
    draft = folder / checkpoint.DRAFT / f"checkpoint-{step}"
    draft.mkdir(parents=True)
    (draft / "weights").write_text(str(step))
    return draft


def test_the_newest_is_by_step_not_by_name(tmp_path):
    for step in (9, 10):
        checkpoint.publish(make(tmp_path, step), tmp_path, keep=5)
    assert checkpoint.step(checkpoint.newest(tmp_path)) == 10


def test_a_draft_is_no_checkpoint(tmp_path):
    make(tmp_path, 3)
    assert checkpoint.newest(tmp_path) is None
    checkpoint.clear_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_the_newest_are_kept(tmp_path):
    for step in (1, 2, 3):
        checkpoint.publish(make(tmp_path, step), tmp_path, keep=2)
    assert [checkpoint.step(path) for path in checkpoint.all_checkpoints(tmp_path)] == [2, 3]


def test_the_same_step_can_be_saved_again(tmp_path):
    checkpoint.publish(make(tmp_path, 1), tmp_path, keep=2)
    saved = checkpoint.publish(make(tmp_path, 1), tmp_path, keep=2)
    assert (saved / "weights").read_text() == "1"


def test_no_folder_has_no_checkpoint(tmp_path):
    assert checkpoint.newest(tmp_path / "absent") is None


def test_a_fully_trained_model_stops_at_the_end_token_of_its_chat_template(compose, tmp_path):
    from transformers import GenerationConfig

    from anima_exp.data.chat.templates import ChatTemplate, use_template
    from anima_exp.model.base import load_base
    from anima_exp.model.tokenizer import load_tokenizer

    config = compose("quant=none")
    model = load_base(config.model, config.quant, precision=config.trainer.precision)
    tokenizer = load_tokenizer(config.model)
    eos, pad = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<pad>")
    checkpoint.save(model, tokenizer, tmp_path / "plain", model_card="")
    use_template(tokenizer, ChatTemplate("x", "{{ messages }}"), [pad])
    checkpoint.save(model, tokenizer, tmp_path / "chat", model_card="")
    ends = [GenerationConfig.from_pretrained(tmp_path / n).eos_token_id for n in ("plain", "chat")]
    assert ends == [eos, [pad, eos]]
