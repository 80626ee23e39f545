"""Settings: where they come from, what is refused, and the table that `searchd settings` prints."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from indexer.errors import ConfigError
from indexer.settings import MASK, describe, load_settings
from searchd.rerank.house import HOUSE_MODELS
from searchd.settings import HOUSE_RERANKERS, Key, Profile, Settings, Stage


def test_environment_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "searchd.toml"
    file.write_text('port = 9000\nembedder = "other"\n')
    settings = load_settings(Settings, environ={"SEARCHD_PORT": "9100"}, file=file)
    assert (settings.port, settings.embedder, settings.host) == (9100, "other", "127.0.0.1")


def test_overrides_win_over_the_environment() -> None:
    assert load_settings(Settings, environ={"SEARCHD_PORT": "9100"}, overrides={"port": 9200}).port == 9200


def test_an_unknown_variable_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="SEARCHD_PROT"):
        load_settings(Settings, environ={"SEARCHD_PROT": "1"})


def test_an_unknown_name_in_the_file_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "searchd.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(ConfigError, match="`prot`"):
        load_settings(Settings, environ={}, file=file)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SEARCHD_PORT", "70000", "port"),
        ("SEARCHD_DEVICE", "gpu", "device"),
        ("SEARCHD_PASSAGE_TOKENS", "many", "passage_tokens"),
        ("SEARCHD_PROFILES", '{"p": {"depht": 3}}', "depht"),
        ("SEARCHD_KEYS", '[{"name": "a", "secret": "short"}]', "secret"),
        ("SEARCHD_PROFILES", '{"p": {"stages": [{"name": "rrf"}]}}', "names of their own"),
        ("SEARCHD_PROFILES", '{"p": {"stages": [{"name": "a"}, {"name": "a"}]}}', "names of their own"),
        ("SEARCHD_PROFILES", '{"p": {"stages": [{"name": "a", "early_stop_margin": 11}]}}', "early_stop_margin"),
        (
            "SEARCHD_PROFILES",
            '{"p": {"stages": [{"name": "a", "early_stop_margin": 1, "depth": 20}]}}',
            "keep smaller than depth",
        ),
        (
            "SEARCHD_PROFILES",
            '{"p": {"stages": [{"name": "a", "early_stop_margin": 1, "kind": "listwise", "url": "http://h"}]}}',
            "early_stop_margin is for stages of kind cross_encoder",
        ),
        ("SEARCHD_PROFILES", '{"p": {"weights": {"bm26": 1}}}', "bm26"),
        ("SEARCHD_PROFILES", '{"p": {"weights": {"bm25": -1}}}', "weights"),
        ("SEARCHD_PROFILES", '{"p": {"weights": {"bm25": 1e9}}}', "weights"),
        (
            "SEARCHD_KEYS",
            '[{"name": "a", "secret": "0123456789abcdef"}, {"name": "b", "secret": "0123456789abcdef"}]',
            "same secret",
        ),
        ("SEARCHD_KEYS", '[{"name": "clicks", "secret": "0123456789abcdef"}]', "'clicks'.*weak grades.*another name"),
        ("SEARCHD_KEYS", '[{"name": "file", "secret": "0123456789abcdef"}]', "'file'.*names no judge.*another name"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_its_setting(variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings(Settings, environ={variable: value})


def test_the_overlap_of_passages_is_at_most_half_of_them() -> None:
    with pytest.raises(ConfigError, match="passage_overlap_tokens"):
        load_settings(Settings, environ={"SEARCHD_PASSAGE_TOKENS": "40"})


def test_the_table_has_every_setting_once_with_its_variable_and_meaning() -> None:
    rows = [row for row in describe(Settings()) if row.variable]
    assert [row.name for row in rows] == [field.name for field in msgspec.structs.fields(Settings)]
    for row in rows:
        assert row.variable == f"SEARCHD_{row.name.upper()}"
        assert row.meaning
        assert row.accepts


def test_the_table_describes_profiles_stages_and_keys_field_by_field() -> None:
    rows = {row.name: row for row in describe(Settings())}
    for kind, prefix in ((Profile, "profiles.NAME."), (Stage, "profiles.NAME.stages[]."), (Key, "keys[].")):
        for field in msgspec.structs.fields(kind):
            row = rows[prefix + field.name]
            assert row.meaning, row.name
            assert (row.variable, row.value) == ("", "")
    assert rows["profiles.NAME.stages[].depth"].accepts == "1 to 1,000"
    assert rows["profiles.NAME.stages[].name"].default == "(has to be given)"
    assert "small" in rows["profiles.NAME.stages"].default


def test_secrets_are_masked_and_empty_ones_are_shown_as_empty() -> None:
    secret = "a-very-secret-secret"
    settings = Settings(keys=(Key(name="k", secret=secret),), database_url="postgresql://user:pw@host/db")
    rows = {row.name: row for row in describe(settings)}
    assert rows["keys"].value == rows["database_url"].value == MASK
    assert rows["qdrant_api_key"].value == ""
    rows = {row.name: row for row in describe(Settings(qdrant_url="https://me:word@qdrant.example:6333/x"))}
    assert rows["qdrant_url"].value == f"https://{MASK}@qdrant.example:6333/x"
    rows = {row.name: row for row in describe(Settings(qdrant_url="https://me:p@ss@qdrant.example:6333"))}
    assert rows["qdrant_url"].value == f"https://{MASK}@qdrant.example:6333"
    rows = {row.name: row for row in describe(Settings())}
    assert rows["qdrant_url"].value == "http://127.0.0.1:6333"
    assert not any(secret in text or "pw@" in text for row in rows.values() for text in (row.value, row.default))


def test_what_a_setting_accepts_is_said_in_words() -> None:
    accepts = {row.name: row.accepts for row in describe(Settings())}
    assert accepts["vector_backend"] == "edge, server"
    assert accepts["device"] == "auto, cpu, mps, cuda, cuda:N"
    assert accepts["port"] == "0 to 65,535"
    assert accepts["run_worker"] == "true, false"


def test_a_stage_is_made_anew_without_asking_msgspec_for_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(name="large")
    asked: list[object] = []
    fields = msgspec.structs.fields
    monkeypatch.setattr(msgspec.structs, "fields", lambda kind: asked.append(kind) or fields(kind))
    assert msgspec.structs.replace(stage, depth=7) == Stage(name="large", depth=7)
    with pytest.raises(ValueError, match="prompt is for stages of kind causal"):
        msgspec.structs.replace(stage, prompt="qwen3")
    assert asked == []


@pytest.mark.parametrize("kind", ["causal", "seq2seq", "late_interaction"])
def test_a_stage_of_a_kind_that_no_packaged_model_is_must_name_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "searchd.toml"
    file.write_text(f'[[profiles.default.stages]]\nname = "large"\nkind = "{kind}"\n')
    with pytest.raises(ConfigError, match=f"model of stage 'large' must be .*rerank-base is a packaged.*kind {kind}"):
        load_settings(Settings, environ={}, file=file)
    with pytest.raises(ValueError, match="rerank-small is a packaged cross-encoder"):
        Stage(name="large", kind=kind, model="rerank-small")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rerank-base").mkdir()
    assert Stage(name="large", kind=kind).model == "rerank-base", "a folder that is called so is no packaged model"


def test_stages_that_do_without_a_name_of_a_model_go_on_doing_so() -> None:
    assert Stage(name="large").model == "rerank-base"
    assert Stage(name="far", kind="remote", provider="tei", url="http://127.0.0.1:8080").provider == "tei"
    assert set(HOUSE_MODELS) == set(HOUSE_RERANKERS)
