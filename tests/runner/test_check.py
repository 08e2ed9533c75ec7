"""`enrow check`: one line for each check, an exit code, no value of a setting, and nothing left behind."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import duckdb
import pytest

from enrow_source.cli.check import main
from enrow_source.runner import check
from enrow_source.runner.check import Check, Outcome, checks
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.report import ExitCode
from enrow_source.testing import Response, SimulatedEnrow, bodies
from enrow_source.testing.bodies import Variants
from tests.conftest import Configure, Load
from tests.support.postgres import Postgres
from tests.support.warehouse import Warehouse

pytest_plugins = ("tests.support.postgres",)

KEY = "enrow-test-key"
Checked = Callable[..., dict[str, Check]]


@pytest.fixture
def checked(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Run the checks against the simulated API; of several lines of one check the worst."""

    def run(destination: str = "duckdb", dataset: str = "enrow_data", key: str | None = KEY) -> dict[str, Check]:
        if key is not None:
            monkeypatch.setenv("ENROW_API_KEY", key)
        found = sorted(checks(destination, dataset, api.url), key=lambda one: list(Outcome).index(one.outcome))
        return {one.name: one for one in found}

    return run


def outcomes(found: dict[str, Check]) -> dict[str, str]:
    return {name: one.outcome.value for name, one in found.items()}


def test_a_machine_that_can_run(
    api: SimulatedEnrow, configure: Configure, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    configure(
        config='[sources.enrow]\nmax_batches = 7\npii = "drop"\n',
        secrets=f'[sources.enrow]\nenrow_api_key = "{api.api_key}"\npii_secret = "a secret of some length"\n',
    )
    assert main(["--base-url", api.url]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", "versions"],
        ["ok", "files"],
        ["ok", "options"],
        ["ok", "api"],
        ["ok", "destination"],
        ["ok", "results"],
    ]
    message = "\n".join(lines)
    assert "enrow_api_key from secrets.toml" in message
    assert "max_batches from config.toml" in message
    assert "8,500 credits left" in message
    assert not [value for value in (api.api_key, "a secret", "drop") if value in message.replace("dropped", "")]
    # Asking costs nothing, and no id was fetched.
    assert [request.path for request in api.requests] == ["/account/info"]
    assert not list(tmp_path.glob("*.duckdb*"))


def test_environment_variables_are_named(checked: Checked) -> None:
    """Settings in the environment are reported by their names."""
    found = checked()
    assert "enrow_api_key from Environment Variables (ENROW_API_KEY)" in found["options"].message
    # The command was run elsewhere than where its files are.
    assert found["files"].outcome is Outcome.WARNING
    assert "only the environment holds" in found["files"].message
    assert outcomes(found)["api key"] == "ok"


@pytest.mark.parametrize(
    "config,written,meant",
    [
        ("[source.enrow]\nmax_batches = 1\n", "source.enrow", "sources.enrow"),
        ("[sources.enrow_source]\nmax_batches = 1\n", "sources.enrow_source", "sources.enrow"),
        ("[sources.enrwo]\nmax_batches = 1\n", "sources.enrwo", "sources.enrow"),
        ("[enrow]\nmax_batches = 1\n", "enrow", "sources.enrow"),
        ("[destinations.postgres]\na = 1\n", "destinations", "destination"),
        ("[run_time]\nlog_level = 'INFO'\n", "run_time", "runtime"),
    ],
)
def test_a_mistyped_section_is_named(
    checked: Checked, configure: Configure, config: str, written: str, meant: str
) -> None:
    configure(config=config)
    found = checked()["files"]
    assert found.outcome is Outcome.FAILED
    assert f"nothing reads [{written}" in found.message
    assert f"did you mean [{meant}" in found.message


def test_sections_of_others_are_left_alone(checked: Checked, configure: Configure) -> None:
    configure(config="[sources.github]\na = 1\n[my_pipeline.sources]\na = 1\n[destination.warehouse]\na = 1\n")
    assert checked()["files"].outcome is Outcome.OK


def test_invalid_configuration_file(checked: Checked, configure: Configure, tmp_path: Path) -> None:
    """A configuration file that is not TOML is named."""
    configure()
    (tmp_path / ".dlt" / "config.toml").write_text("[sources.enrow\n", encoding="utf-8")
    assert checked()["files"].outcome is Outcome.FAILED


def test_a_mistyped_option(checked: Checked, configure: Configure) -> None:
    configure(config="[sources.enrow]\nmax_batch = 1\n")
    assert "did you mean 'max_batches'" in checked()["options"].message


def test_a_mistyped_prefix_of_the_environment(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE__ENROW__MAX_BATCHES", "1")
    assert "SOURCE__ENROW__MAX_BATCHES" in checked()["options"].message


def test_the_key(checked: Checked, api: SimulatedEnrow) -> None:
    assert "no Enrow API key" in checked(key=None)["api key"].message
    refused = checked(key="refused-key")["api key"]
    assert refused.outcome is Outcome.FAILED
    assert "the API refused the key" in refused.message
    assert "refused-key" not in refused.message
    assert len(api.requests) == 1, "a key is tried once"


def test_an_api_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROW_API_KEY", KEY)
    found = {one.name: one for one in checks("duckdb", "enrow_data", "http://127.0.0.1:9")}
    assert found["api key"].outcome is Outcome.FAILED
    assert found["api key"].message.startswith("no complete answer: ConnectionError")
    assert found["api key"].message.endswith("(host 127.0.0.1:9)")
    assert KEY not in found["api key"].message
    assert found["destination"].outcome is Outcome.OK, "one check does not stop the others"


def test_an_answer_that_is_not_documented(
    checked: Checked, api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "info", lambda: Response(body=b"<html>"))
    assert "not what the API documents" in checked()["api key"].message
    monkeypatch.setattr(api, "info", lambda: Response(body={"credits": None}))
    assert checked()["api key"].message == "accepted"


@pytest.fixture
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres.url)
    yield postgres
    postgres.query("DROP SCHEMA IF EXISTS held CASCADE")


def schemas(postgres: Postgres) -> set[str]:
    return {row["nspname"] for row in postgres.query("SELECT nspname FROM pg_namespace")}


def tables(postgres: Postgres) -> list[str]:
    return [row["relname"] for row in postgres.query("SELECT relname FROM pg_class WHERE relname LIKE 'enrow_check%'")]


def test_postgres(checked: Checked, database: Postgres) -> None:
    before = schemas(database)
    found = checked("postgres", "checked")["destination"]
    assert found.outcome is Outcome.OK, found
    assert "can be made" in found.message
    assert schemas(database) == before
    database.query("CREATE SCHEMA held")
    assert "is there" in checked("postgres", "held")["destination"].message
    assert schemas(database) == {*before, "held"}
    assert not tables(database)


def test_a_postgres_that_may_only_be_read(
    checked: Checked, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.query(
        "CREATE SCHEMA held; CREATE ROLE reader LOGIN PASSWORD 'the-password'; GRANT USAGE ON SCHEMA held TO reader"
    )
    url = database.url.replace("postgres:x@", "reader:the-password@")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    found = checked("postgres", "held")["destination"]
    assert found.outcome is Outcome.FAILED
    assert "permission denied" in found.message
    assert "the-password" not in found.message
    assert not tables(database)


def test_a_postgres_that_is_not_there(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://user:the-password@127.0.0.1:9/enrow")
    found = checked("postgres")["destination"]
    assert found.outcome is Outcome.FAILED
    assert "refused" in found.message
    assert "the-password" not in found.message


def test_a_duckdb_file_that_is_there_stays_as_it_is(checked: Checked, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("CREATE SCHEMA enrow_data; CREATE TABLE enrow_data.held AS SELECT 1 AS one")
    assert "is there" in checked()["destination"].message
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        found = connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        assert found == [("enrow_data", "held")]


def test_a_destination_that_nobody_knows(checked: Checked) -> None:
    assert "dlt has no destination" in checked("nowhere")["destination"].message


@pytest.mark.parametrize(
    "sqlglot,duckdb_version,outcome,message",
    [
        ("30.21.0", "1.5.6", Outcome.OK, "sqlglot 30.21.0"),
        ("30.22.0", "1.5.6", Outcome.FAILED, "sqlglot<30.22"),
        ("30.21.0", "2.0.0", Outcome.WARNING, "duckdb<2"),
    ],
)
def test_versions_that_are_known_to_be_broken_together(  # noqa: PLR0917 - pytest passes by name
    checked: Checked, monkeypatch: pytest.MonkeyPatch, sqlglot: str, duckdb_version: str, outcome: Outcome, message: str
) -> None:
    others = {"sqlglot": sqlglot, "duckdb": duckdb_version, "dlt": "1.31.0"}
    monkeypatch.setattr(check, "version", lambda name: others.get(name) or version(name))
    found = checked()["versions"]
    assert found.outcome is outcome
    assert message in found.message


@pytest.mark.parametrize("reading", ["gross", pytest.param("net", marks=pytest.mark.slow)])
def test_the_reading_of_credits_is_known(
    api: SimulatedEnrow, checked: Checked, load: Load, warehouse: Warehouse, reading: str
) -> None:
    """Whether `credits_cost` is net of the refund or gross is documented nowhere: the batches tell."""
    variants: Variants = {"gross_cost": reading == "gross", "credits_per_phone": 50}
    api.respond("refund", bodies.completed("refund", 10, **variants))
    api.respond("none", bodies.answering("none", bodies.searches("none", 3), 1.0))
    load(["refund", "none"], pipeline=build_pipeline("duckdb"))
    warehouse.close()
    message = checked()["credits"].message
    counts = "1 batches net, 0 gross" if reading == "net" else "0 batches net, 1 gross"
    assert message == f"credits_cost is {reading} of refunds ({counts}, 0 neither)"


def test_rows_in_clear_are_told(  # noqa: PLR0917 - fixtures
    api: SimulatedEnrow,
    checked: Checked,
    load: Load,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where `pii` is set later, the check and the first run name the command for rows that are there."""
    pipeline = build_pipeline("duckdb")
    load([api.add_completed("before", 4)], pipeline=pipeline)
    monkeypatch.setenv("SOURCES__ENROW__PII", "drop")
    warehouse.close()
    assert "privacy" in (found := checked())
    assert "rows were loaded in clear, before pii was set: enrow erase --existing --execute" in found["privacy"].message
    load([api.add_completed("after", 4)], pipeline=pipeline)
    load([api.add_completed("later", 4)], pipeline=pipeline)
    assert caplog.text.count("stay in clear: enrow erase --existing --execute hides them") == 1
