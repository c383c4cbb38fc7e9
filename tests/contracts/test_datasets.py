"""datasets still has what libraries/datasets_internals.py uses; a test names each part."""

from datasets import load_dataset, load_dataset_builder

from anima_exp.libraries import datasets_internals


def test_a_builders_folder_ends_in_name_configuration_version_and_hash(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "one"}\n')
    builder = load_dataset_builder("json", data_files=str(file), cache_dir=str(tmp_path / "cache"))
    identity = datasets_internals.identity_of(builder)
    assert len(identity) == 4
    assert identity[0] == "json"
    assert identity[1].startswith("default-")
    assert identity[2] == str(builder.config.version or builder.info.version)
    assert len(identity[3]) == 64


def test_other_rows_are_another_folder(tmp_path):
    file = tmp_path / "rows.jsonl"
    identities = []
    for text in ("one", "two, longer"):
        file.write_text(f'{{"text": "{text}"}}\n')
        builder = load_dataset_builder("json", data_files=str(file), cache_dir=str(tmp_path))
        identities.append(datasets_internals.identity_of(builder))
    assert identities[0] != identities[1]


def test_a_set_of_the_hub_is_kept_in_a_folder_named_by_its_id(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    assert not datasets_internals.prepared_before("BelleGroup/train_1M_CN")
    (tmp_path / "BelleGroup___train_1_m_cn").mkdir()
    assert datasets_internals.prepared_before("BelleGroup/train_1M_CN")


def test_datasets_names_that_folder_by_owner_and_words(tmp_path):
    from datasets.naming import camelcase_to_snakecase

    assert camelcase_to_snakecase("train_1M_CN") == "train_1_m_cn"
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "one"}\n')
    assert load_dataset("json", data_files=str(file), cache_dir=str(tmp_path / "cache"))
