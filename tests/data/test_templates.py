from anima_exp.data import templates


def test_alpaca_without_an_input_is_stanfords_text_with_qloras_trailing_space():
    assert templates.alpaca("Name a colour.") == (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nName a colour.\n\n### Response: "
    )


def test_alpaca_with_an_input_has_a_section_for_it():
    assert templates.alpaca("Translate.", "Hund") == (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nTranslate.\n\n### Input:\nHund\n\n### Response: "
    )


def test_braces_in_a_question_stay_braces():
    assert "{x} {0}" in templates.alpaca("{x} {0}")


def test_guanaco_ends_where_the_answer_begins():
    assert templates.guanaco("Hi") == "### Human: Hi### Assistant: "
    assert templates.guanaco("Sum up.", "A text") == "### Human: Sum up.\nA text### Assistant: "


def test_hh_rlhf_has_no_space_after_the_last_colon():
    assert templates.hh_rlhf("Hi") == "\n\nHuman: Hi\n\nAssistant:"


def test_plain_is_the_question_itself():
    assert templates.plain("Hi") == "Hi"
    assert templates.plain("Sum up.", "A text") == "Sum up.\nA text"
