"""The published figures, from the verdicts that QLoRA released."""

import time

import pytest

from anima_exp.tournament.bias import position
from anima_exp.tournament.elo import elo, matches
from anima_exp.tournament.players import read_answers
from anima_exp.tournament.reading import read
from anima_exp.tournament.relative_scores import percents, win_matrix
from anima_exp.tournament.verdicts import verdicts

# QLoRA, Table 6: ChatGPT vs Sys, Sys vs ChatGPT, mean, 95 % CI.
TABLE_6 = {
    "13b-guanaco": "87.3 93.4 90.4 5.2",
    "13b-alpaca": "63.8 76.7 69.4 4.2",
    "13b-hh-rlhf": "55.5 69.1 62.5 4.7",
    "13b-unnatural-instructions": "50.6 69.8 60.5 4.2",
    "13b-chip2": "49.2 69.3 59.5 4.7",
    "13b-longform": "44.9 62.0 53.6 5.2",
    "13b-self-instruct": "38.0 60.5 49.1 4.6",
    "13b-flan": "32.4 61.2 47.0 3.6",
    "7b-guanaco": "84.1 89.8 87.0 5.4",
    "7b-alpaca": "57.3 71.2 64.4 5.0",
    "7b-flan": "33.3 56.1 44.8 4.0",
}
# QLoRA, Table 1, judged by GPT-4 on the Vicuna questions.
TABLE_1 = {
    "gpt4": 1348,
    "65b-guanaco": 1022,
    "30b-guanaco": 992,
    "vicuna-13b": 974,
    "gpt35": 966,
    "13b-guanaco": 916,
    "bard": 902,
    "7b-guanaco": 879,
}
MATCHES = 500  # per order; the paper does not say how many: inferred


@pytest.fixture(scope="module")
def ratings(shared_data):
    folder = shared_data / "eval" / "ratings"
    if not folder.is_dir():
        pytest.skip(f"no released ratings in {shared_data}")
    return folder


@pytest.fixture(scope="module")
def pairwise(ratings):
    return verdicts(read([ratings / "vicuna-pairwise"]), answers={})[0]


def test_every_number_of_table_6_to_the_printed_digit(ratings):
    found, notes = verdicts(read([ratings / "vicuna-relative"]), answers={})
    assert notes[0].startswith("32 of 32 file names have the two players swapped")
    printed = {
        one.player: " ".join(
            f"{number:.1f}"
            for number in (one.reference_first, one.player_first, one.mean, one.half)
        )
        for one in percents(found, "gpt-3.5")
    }
    assert {player: printed[player] for player in TABLE_6} == TABLE_6


def test_every_rating_of_table_1_within_2_points_in_5_seconds(ratings):
    started = time.monotonic()
    played = matches(verdicts(read([ratings / "vicuna-pairwise"]), answers={})[0])
    found = elo(played, orders=10_000, per_order=MATCHES, seed=42)
    assert time.monotonic() - started < 5
    away = {one.player: one.mean - TABLE_1[one.player] for one in found}
    assert len(away) == 8
    assert max(map(abs, away.values())) < 2, away


def test_without_a_lucky_seed_one_rating_is_a_little_further(pairwise):
    """10,000 orders leave a standard error of 0.45 points. Averaged over seeds, the recipe is 2.4
    above Table 1 for 65B and at most 1.3 away for the others: about every second seed, as that
    above, is within 2 for all. The paper's own Table 7 is 3 points off its Table 1 for 13B, by the
    same verdicts.
    """
    found = elo(matches(pairwise), orders=60_000, per_order=MATCHES)
    away = {one.player: abs(one.mean - TABLE_1[one.player]) for one in found}
    assert 1.5 < away.pop("65b-guanaco") < 3
    assert max(away.values()) < 1.8


def test_all_matches_per_order_are_not_what_the_paper_did(pairwise):
    best = elo(matches(pairwise), orders=500)[0]
    assert best.player == "gpt4"
    assert best.mean - TABLE_1["gpt4"] > 20


def test_table_12_is_wins_less_losses_by_question(pairwise):
    row = win_matrix(pairwise)["65b-guanaco"]
    printed = {
        "30b-guanaco": 0.21, "vicuna-13b": 0.19, "gpt35": 0.16,
        "bard": 0.72, "13b-guanaco": 0.59, "7b-guanaco": 0.86,
    }  # fmt: skip
    assert {name: round(row[name].net, 2) for name in printed} == printed


def test_the_files_are_all_there_and_few_are_unparsed(pairwise):
    assert len(pairwise) == 4480
    assert position(pairwise).unparsed == 13


def test_ids_of_released_answers_are_made_of_their_texts(shared_data, ratings):
    folder = shared_data / "eval" / "generations" / "vicuna"
    paths = sorted(folder.glob("*guanaco*.jsonl"))
    if not paths:
        pytest.skip(f"no released answers in {shared_data}")
    rows = read([ratings / "vicuna-pairwise"])
    found = verdicts(rows, answers=read_answers(paths))[0]
    known = [
        one for one in found if one.first.endswith("guanaco") and one.second.endswith("guanaco")
    ]
    assert len(known) == 12 * 80
    assert all(one.lengths for one in known)
