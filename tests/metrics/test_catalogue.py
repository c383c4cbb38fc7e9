"""Every metric that the package produces is described."""

from anima_exp.config.evals import TAKEN
from anima_exp.metrics.catalogue import known


def test_every_score_that_an_eval_of_the_users_own_may_not_take_is_described():
    bookkeeping = {"step", "seconds", "choices_micro"}
    assert set(TAKEN) - bookkeeping <= set(known())
    assert "choices_micro" not in known()


def test_each_metric_has_one_sentence_a_unit_and_a_source():
    for name, entry in known().items():
        assert entry.name == name
        assert entry.what.endswith(".") and entry.what[0].isupper()
        assert entry.unit and entry.source and entry.where
