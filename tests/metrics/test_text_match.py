from anima_exp.metrics.text_match import same


def test_white_space_and_one_full_stop_are_forgiven_and_nothing_else():
    assert same(" k  t a.\n", "k t a")
    assert same("红色。", "红色")
    assert not same("红色。。", "红色")
    assert not same("12 or 13", "12")
    assert not same("Odd", "odd")
