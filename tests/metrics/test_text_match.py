from anima_exp.metrics.text_match import answers_match


def test_white_space_and_one_full_stop_are_forgiven_and_nothing_else():
    assert answers_match(" k  t a.\n", "k t a")
    assert answers_match("红色。", "红色")
    assert not answers_match("红色。。", "红色")
    assert not answers_match("12 or 13", "12")
    assert not answers_match("Odd", "odd")


PATTERN = r"(?:answer is:?|####)\s*([^\n]+)"


def test_a_pattern_compares_the_last_answer_alone():
    reference = "Half of 48 is 24.\n48 + 24 = 72\n#### 72\nThe answer is: 72"
    assert answers_match("So the answer is 5.\nNo: the answer is 72.", reference, PATTERN)
    assert answers_match("#### 72", reference, PATTERN)
    assert not answers_match("The answer is: 71", reference, PATTERN)
    assert not answers_match("72", reference, PATTERN)  # it names no answer
    assert not answers_match("nothing", "nothing", PATTERN)
    assert answers_match("The answer is: 1,200", "#### 1200", PATTERN)
    assert not answers_match("The answer is: 1, 2", "#### 12", PATTERN)


def test_a_pattern_may_have_several_groups():
    assert answers_match("b=7", "a=1 c: 7", r"a=(\d+)|[bc](?:=|: )(\d+)")
