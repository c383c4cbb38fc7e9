"""transformers still has what libraries/transformers_rope.py reads."""

from support.small_models import small

from anima_exp.libraries import transformers_rope as rope


def test_frequencies_of_rotary_positions_are_known_by_their_name():
    llama = small("llama")
    assert rope.rotary_parts(llama) == [llama.model.rotary_emb]


def test_rotary_modules_know_the_type_with_which_they_were_built():
    linear = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    model = small("llama", rope_parameters=linear)
    assert rope.rope_settings(model.config) == {"": linear}
    (part,) = rope.rotary_parts(model)
    assert rope.rope_types(part) == {"": "linear"}
