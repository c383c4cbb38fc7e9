import torch

from anima_exp.training.meter import Meter


def add(meter, loss, tokens=4):
    meter.add(torch.tensor(loss), {"attention_mask": torch.ones(1, tokens)}, 0.0)


def test_the_loss_of_a_step_is_the_sum_of_its_micro_batches():
    meter = Meter()
    add(meter, 0.25)
    add(meter, 0.5)
    assert meter.step() == 0.75
    assert meter.drain()["loss"] == 0.75


def test_a_window_that_spans_a_checkpoint_is_whole(tmp_path):
    meter = Meter()
    for loss in (0.1, 0.2, 0.3):
        add(meter, loss)
        meter.step()
        if loss == 0.2:
            meter.save(tmp_path)
    resumed = Meter.load(tmp_path)
    add(resumed, 0.3)
    resumed.step()
    assert resumed.drain()["loss"] == meter.drain()["loss"]
    assert resumed.total_tokens == 12
