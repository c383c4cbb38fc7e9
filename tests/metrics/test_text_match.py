from anima_exp.metrics.text_match import answers_match


def test_white_space_and_one_full_stop_are_forgiven_and_nothing_else():
    assert answers_match(" k  t a.\n", "k t a")
    assert answers_match("红色。", "红色")
    assert not answers_match("红色。。", "红色")
    assert not answers_match("12 or 13", "12")
    assert not answers_match("Odd", "odd")
