"""conf/ read without Hydra says the same as Hydra."""

import pytest

from anima_exp.cli import conf_files
from anima_exp.cli.conf_files import Line
from anima_exp.results import identity


def test_the_groups_and_choices_are_those_of_hydra():
    from anima_exp.cli.error_messages import choices

    for group in conf_files.groups():
        assert sorted(conf_files.choices(group)) == sorted(choices(group))
    assert "hydra" not in conf_files.groups()
    assert conf_files.choices("nothing") == []


def test_defaults_are_what_hydra_composes(compose):
    composed = identity.flatten(compose())
    found = conf_files.defaults("train")
    plain = {key: line for key, line in found.items() if "${" not in line.value}
    assert len(plain) > 40
    for key, line in plain.items():
        if key in composed:
            assert line.parsed == composed[key], key


def test_references_are_followed_to_a_value(compose):
    composed = identity.flatten(compose())
    known = conf_files.defaults("train")
    for key in ("trainer.batch_size", "trainer.precision", "optimizer.learning_rate"):
        assert "${" in known[key].value
        resolved = Line(key, conf_files.resolved(known[key].value, known), "", "")
        assert resolved.parsed == composed[key]


def test_a_command_that_extends_train_has_its_defaults():
    assert conf_files.defaults("plan")["lora.rank"] == conf_files.defaults("train")["lora.rank"]
    assert conf_files.chosen("plan") == conf_files.chosen("train")


def test_a_line_has_its_file_and_its_comment():
    line = conf_files.defaults("train")["optimizer.max_grad_norm"]
    assert line == Line(
        "optimizer.max_grad_norm", "0.3", "QLoRA, Appendix B.2",
        "conf/optimizer/paged_adamw_32bit.yaml",
    )  # fmt: skip


def test_a_list_over_several_lines_is_written_on_one(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("names:  # of things\n  - a\n  - b\nother: [1, 2]  # two\nlast: x # y\n")
    assert [(line.key, line.value, line.comment) for line in conf_files.lines(file, "g")] == [
        ("g.names", "[a, b]", ""),
        ("g.other", "[1, 2]", "two"),
        ("g.last", "x", "y"),
    ]


def test_files_that_set_a_key_are_found_in_groups_experiments_and_sweeps():
    files = {line.file for line in conf_files.setters("lora.rank")}
    assert "conf/lora/ffn.yaml" in files
    assert all(file.startswith(("conf/", "sweeps/")) for file in files)


def test_the_comment_at_the_top_of_a_file_describes_it():
    text = conf_files.about(conf_files.file_of("model", "guanaco33b"))
    assert text == "Guanaco 33B, merged by its authors. Anima was trained from this base."
    assert conf_files.about(conf_files.file_of("experiment", "table9/7b_oasst1")).startswith(
        "QLoRA"
    )


def test_every_choice_is_described():
    for group in conf_files.groups():
        for name in conf_files.choices(group):
            if name != conf_files.BY_HAND:
                assert conf_files.about(conf_files.file_of(group, name)), (group, name)


@pytest.mark.parametrize(
    ("text", "width", "line"),
    [
        ("One. Two.", 20, "One. Two."),
        ("One. Two.", 5, "One."),
        ("A sentence that is too long.", 20, "A sentence that is …"),
        ("Mistral 7B v0.3. More.", 18, "Mistral 7B v0.3."),
    ],
)
def test_a_description_is_shortened_between_sentences(text, width, line):
    assert conf_files.one_line(text, width) == line
