from anima_exp.data.collate import collate
from anima_exp.data.encode import IGNORE


def test_padding_is_on_the_right_and_masked_by_length():
    eos = 0  # a real token with the padding's id stays visible
    batch = collate(
        [
            {"input_ids": [5, eos], "labels": [IGNORE, eos]},
            {"input_ids": [5, 6, 7], "labels": [IGNORE, 6, 7]},
        ],
        pad=eos,
    )
    assert batch["input_ids"].tolist() == [[5, 0, 0], [5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [[IGNORE, 0, IGNORE], [IGNORE, 6, 7]]
