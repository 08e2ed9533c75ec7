"""Settings count where they are documented, and nowhere else."""

from pathlib import Path

import dlt
import pytest

from enrow_source import ConfigurationError, build_pipeline, enrow_source, fetch_account
from enrow_source.cli import main
from enrow_source.destination.credits import least_credits
from enrow_source.options import misplaced_settings
from enrow_source.runner.check import checks
from enrow_source.settings import CREDITS_PER_FOUND
from enrow_source.submissions.configured import SubmitSettings
from enrow_source.testing import SimulatedEnrow
from tests.conftest import Configure, NewSource
from tests.support.warehouse import Warehouse

OPTIONS = ("pii", "pii_secret", "shard", "max_batches", "enrow_api_key", "enrow_base_url", "connections")

BARE = {
    "SHARD": "1/4",
    "PII": "drop",
    "MAX_BATCHES": "1",
    "BATCH_IDS_FILE": "/nowhere/ids.txt",
    "CONNECTIONS": "0",
    "DEADLINE_S": "0.000001",
}


def test_bare_variables_are_not_read(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SHARD=1/4` of a CI loaded one id of four, and `PII=drop` of another program dropped the numbers."""
    for name, value in BARE.items():
        monkeypatch.setenv(name, value)
    warehouse.run(new_source([api.add_completed(f"batch-{n}") for n in range(8)]))
    assert warehouse.sql("SELECT count(*), count(DISTINCT batch_id) FROM batches") == [(8, 8)]
    assert warehouse.sql("SELECT count(*) > 0 FROM phone_results WHERE number IS NOT NULL") == [(True,)]


def test_bare_variables_of_credits_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a number costs, and when credits are few, is money: `CREDITS_PER_FOUND` may be another program's."""
    for name, value in {"CREDITS_PER_FOUND": "1", "MIN_CREDITS": "7", "PII": "drop"}.items():
        monkeypatch.setenv(name, value)
    settings = SubmitSettings.read()
    assert (settings.credits_per_found, settings.pii, least_credits()) == (CREDITS_PER_FOUND, "keep", None)


def test_a_bare_url_gets_no_key(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare `ENROW_BASE_URL` names us and is not read, so it is refused."""
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("ENROW_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="did you mean SOURCES__ENROW__ENROW_BASE_URL"):
        enrow_source([])


@pytest.mark.parametrize("name", ["ENROW_API_KEY", "SOURCES__ENROW__ENROW_API_KEY"])
def test_the_key_is_read_from_both_names(name: str, api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    assert fetch_account().credits is not None
    assert list(enrow_source([]).resources)


@pytest.mark.parametrize(
    "name, meant",
    [
        ("SOURCE__ENROW__PII", "SOURCES__ENROW__PII"),
        ("SOURCE__ENROW__MAX_BATCH", "SOURCES__ENROW__MAX_BATCH"),
        ("SOURCES__ENROW_SOURCE__PII", "SOURCES__ENROW__PII"),
        ("SOURCES__PHONE_BULK__MAX_BATCHES", "SOURCES__ENROW__MAX_BATCHES"),
        ("SOURCES_ENROW_PII", "SOURCES__ENROW__PII"),
        ("sources__enrow__pii", "SOURCES__ENROW__PII"),
        ("ENROW__PII", "SOURCES__ENROW__PII"),
        ("SOURCES__PII", "SOURCES__ENROW__PII"),
        ("SOURCES__ENROW_API_KEY", "SOURCES__ENROW__ENROW_API_KEY"),
        ("ENROW_PII_SECRET", "SOURCES__ENROW__PII_SECRET"),
        ("SOURCES__ENRWO__SHARD", "SOURCES__ENROW__SHARD"),
    ],
)
def test_a_variable_that_is_nearly_ours(name: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "drop")
    with pytest.raises(ConfigurationError, match=f"nothing reads {name}, did you mean {meant}[?]"):
        enrow_source([], enrow_api_key="made-up-key")
    assert name in " ".join(check.message for check in checks("duckdb", "enrow_data", "http://127.0.0.1:9"))


@pytest.mark.parametrize(
    "name",
    [
        "ENROW_API_KEY",
        "ENROW_WAREHOUSE",
        "ENROW__DESTINATION__DUCKDB__CREDENTIALS",
        "SHARD",
        "SOURCES__ENROW__SHARD",
        "SOURCES__GITHUB__PII",
        "SOURCE_PII",
    ],
)
def test_other_variables_are_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1/4")
    assert not list(misplaced_settings(OPTIONS))


@pytest.mark.parametrize(
    "config, named",
    [
        ('[sources.enrow_source]\npii = "drop"', "[sources.enrow_source]"),
        ('[sources.phone_bulk]\npii = "drop"', "[sources.phone_bulk]"),
        ('[source.enrow]\npii = "drop"', "[source.enrow]"),
        ('[enrow]\npii = "drop"', "[enrow]"),
        ('[enrow.sources.enrow]\npii = "drop"', "[enrow]"),
        ('[phone_bulk]\npii = "drop"', "[phone_bulk]"),
        ('[sources.enrow_phones]\npii = "drop"', "[sources.enrow_phones]"),
        ('[sources]\npii = "drop"', "pii under [sources]"),
        ('pii = "drop"', "pii"),
        ('[destinations.warehouse]\ndestination_type = "postgres"', "[destinations.warehouse]"),
    ],
)
@pytest.mark.parametrize("file", ["config", "secrets"])
def test_a_section_that_nothing_reads(config: str, named: str, file: str, configure: Configure) -> None:
    """Each loaded the numbers in clear, with exit code 0."""
    configure(**{file: config})
    with pytest.raises(ConfigurationError) as caught:
        enrow_source([], enrow_api_key="made-up-key")
    assert f"{file}.toml: nothing reads {named}, did you mean [" in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        "[sources.enrow]\nmax_batches = 5\n[sources.enrow.fetched]\na = 1",
        "[sources.enrow_emails]\nfolder = 'a'",
        "[sources.github]\nconnections = 1",
        "[my_pipeline.sources.enrow]\npii = 'drop'",
        "[enrow.destination.duckdb]\ncredentials = 'a.duckdb'\n[enrow.load]\nworkers = 2",
        "[warehouse]\na = 1",
    ],
)
def test_other_sections_are_left_alone(config: str, configure: Configure) -> None:
    configure(config=config)
    assert not list(misplaced_settings(OPTIONS))


def test_broken_toml_names_file_and_line(configure: Configure) -> None:
    configure()
    (file,) = [place for p in dlt.config.config_providers for place in p.present_locations if "config.toml" in place]
    Path(file).write_text("[load]\nworkers = 2\n[sources.enrow\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"config\.toml:3 is no TOML"):
        enrow_source([], enrow_api_key="made-up-key")


def test_what_dlt_init_writes_is_no_value(configure: Configure) -> None:
    """Its placeholders are refused by name: one of them would be a secret that everybody has."""
    configure(secrets='[sources.enrow]\nenrow_api_key = "a-key"\npii_secret = "<configure me>"\n')
    with pytest.raises(ConfigurationError, match=r"^pii_secret under .* is still <configure me>, as dlt init"):
        enrow_source(["a"])


@pytest.mark.parametrize(
    "config, told",
    [
        ('[destination.warehouse]\ndestination_typ = "postgres"', "destination_typ under [destination.warehouse]"),
        (
            '[destination.warehouse]\ntype = "postgres"',
            "type under [destination.warehouse], did you mean destination_type?",
        ),
        ('[destination.warehouse.credentails]\ndatabase = "a.duckdb"', "credentails under [destination.warehouse]"),
        ('[destination.duckdb.credentials]\ndatabse = "a.duckdb"', "databse under [destination.duckdb.credentials]"),
        (
            '[destination.warehous]\ndestination_type = "postgres"',
            "warehous under [destination], did you mean warehouse?",
        ),
    ],
)
def test_a_destination_setting_that_nothing_reads(config: str, told: str, configure: Configure) -> None:
    """Each loaded `warehouse.duckdb`, with exit code 0."""
    configure(config=config)
    with pytest.raises(ConfigurationError) as caught:
        build_pipeline()
    assert f"config.toml: nothing reads {told}" in str(caught.value)


@pytest.mark.parametrize(
    "variable, told",
    [
        ("DESTINATION__WAREHOUSE__DESTINATION_TYP", "destination_typ under [destination.warehouse]"),
        ("DESTINATION__DUCKDB__CREDENTIALS__DATABSE", "databse under [destination.duckdb.credentials]"),
        ("DESTINATION__WAREHOUS__CREDENTIALS", "warehous under [destination]"),
    ],
)
def test_a_variable_of_the_destination(variable: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "postgres")
    with pytest.raises(ConfigurationError) as caught:
        build_pipeline()
    assert f"the environment: nothing reads {told}" in str(caught.value)


def test_other_settings_of_a_destination(configure: Configure) -> None:
    """What is near to nothing that dlt reads may be somebody else's."""
    configure(config='[destination.warehouse]\nowner = "data team"\n[destination.lake]\nbucket_url = "x"')
    assert build_pipeline().destination.destination_name == "warehouse"


@pytest.mark.parametrize("name", ["batch_ids", "stop"])
def test_an_argument_is_no_setting(name: str, configure: Configure) -> None:
    """`batch_ids` in config.toml was ignored by the command."""
    configure(config=f'[sources.enrow]\n{name} = ["a"]')
    with pytest.raises(ConfigurationError, match=rf"{name} under \[sources.enrow\] is not read"):
        enrow_source(["b"], enrow_api_key="made-up-key")


@pytest.mark.parametrize(
    "config, told",
    [
        ('max_batches = "many"', "max_batches is no whole number, but 'many': write one"),
        ("max_batches = 0", "max_batches is 0: set it to more than 0"),
        ('pii = "hide"', "pii is 'hide': set it to"),
        ('batch_ids_file = ""', "batch_ids_file is empty: set it"),
    ],
)
def test_the_place_of_a_wrong_value(
    config: str, told: str, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(config=f"[sources.enrow]\n{config}", secrets='[sources.enrow]\nenrow_api_key = "made-up-key"')
    assert main(["run", "a"]) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert f"(set as sources.enrow.{config.partition(' ')[0]} in config.toml)" in printed


def test_a_long_value_is_not_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be a key that stands in the wrong place."""
    monkeypatch.setenv("ENROW_API_KEY", "made-up-key")
    monkeypatch.setenv("SOURCES__ENROW__CONNECTIONS", "a-secret-that-stands-in-the-wrong-place")
    assert main(["run", "a"]) == 2
    printed = capsys.readouterr().err
    assert "connections is no whole number, but a text of 39 characters" in printed
    assert "(set as SOURCES__ENROW__CONNECTIONS in the environment)" in printed
    assert "a-secret" not in printed


@pytest.mark.parametrize(
    "command", ["submit --people-file p.csv --dry-run", "submissions", "erase --batch-id b", "check"], ids=str.split
)
def test_every_command_reads_the_names(command: str, configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    """`enrow submit` ignored what `enrow run` refuses."""
    configure(config="[sources.enrow]\ncredit_per_found = 50", secrets='[sources.enrow]\nenrow_api_key = "made-up-key"')
    assert main([*command.split(), *(["--base-url", "http://127.0.0.1:9"] if command == "check" else [])]) != 0
    captured = capsys.readouterr()
    assert "no option 'credit_per_found' under [sources.enrow]" in captured.out + captured.err


def test_the_place_of_another_value(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    """An option of the command comes before the files: its value is not theirs."""
    configure(config="[sources.enrow]\nmax_batches = 5", secrets='[sources.enrow]\nenrow_api_key = "made-up-key"')
    assert main(["run", "a", "--max-batches", "-5"]) == 2
    assert capsys.readouterr().err == "error: --max-batches is -5: set it to more than 0, or leave it out\n"
