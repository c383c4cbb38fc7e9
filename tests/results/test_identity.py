from anima_exp.results import identity


def test_the_same_settings_have_the_same_name(compose):
    assert identity.name(compose()) == identity.name(compose("runs=elsewhere", "tracking=none"))


def test_what_changes_the_result_changes_the_name(compose):
    names = {
        identity.name(compose(*overrides))
        for overrides in (
            [],
            ["seed=1"],
            ["lora.rank=8"],
            ["data.max_prompt_tokens=64"],
            ["quant=fp4"],
        )
    }
    assert len(names) == 5


def test_saying_a_default_aloud_changes_nothing(compose):
    assert identity.name(compose("optimizer.learning_rate=${model.recommended.learning_rate}")) == (
        identity.name(compose())
    )
    plain = compose()
    aloud = compose(f"trainer.steps={plain.trainer.steps}")
    assert identity.name(aloud) == identity.name(plain)


def test_a_file_counts_by_its_content_not_its_place(compose, tmp_path):
    def name(path, text):
        path.write_text(text)
        return identity.name(compose("data=local", f"data.path={path}", "trainer.steps=1"))

    here = name(tmp_path / "a.jsonl", "{}")
    assert name(tmp_path / "b.jsonl", "{}") == here
    assert name(tmp_path / "a.jsonl", "{ }") != here


def test_every_setting_is_in_the_record(compose):
    flat = identity.flatten(compose())
    assert flat["quant.type"] == "nf4"
    assert flat["evals.heldout.max_rows"] == 1000
