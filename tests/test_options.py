"""Key, URL and options: where they come from, and the errors of wrong ones."""

from traceback import TracebackException
from typing import Any

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import ConfigurationError, UnknownOptionError, enrow_source
from enrow_source.testing import Response, SimulatedEnrow
from tests.conftest import Configure, NewSource
from tests.support.contents import completed, contents, fetches
from tests.support.warehouse import Warehouse


def test_missing_key_says_where_to_put_one(api: SimulatedEnrow) -> None:
    """Without a key the error says where to put one."""
    with pytest.raises(ConfigurationError) as caught:
        enrow_source(["a"], enrow_base_url=api.url)
    assert "enrow_api_key under [sources.enrow] in .dlt/secrets.toml" in str(caught.value)
    assert "ENROW_API_KEY in the environment" in str(caught.value)
    assert api.requests == []


def test_a_key_of_another_vendor_is_not_used(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "SOURCES__API_KEY"):
        monkeypatch.setenv(name, api.api_key)
    with pytest.raises(ConfigurationError, match="no Enrow API key"):
        enrow_source(["a"], enrow_base_url=api.url)
    assert api.requests == []


@pytest.mark.parametrize("name", ["ENROW_API_KEY", "SOURCES__ENROW__ENROW_API_KEY"], ids=str.lower)
def test_the_key_comes_from_the_environment(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, api.api_key)
    list(enrow_source([api.add_completed("a", 1)], enrow_base_url=api.url))
    assert [request.status for request in api.requests] == [200]


def test_key_and_url_come_from_the_files(api: SimulatedEnrow, configure: Configure) -> None:
    configure(
        config=f'[sources.enrow]\nenrow_base_url = "{api.url}"',
        secrets=f'[sources.enrow]\nenrow_api_key = "{api.api_key}"',
    )
    list(enrow_source([api.add_completed("a", 1)]))
    assert [request.status for request in api.requests] == [200]


@pytest.mark.parametrize(
    "options,message",
    [
        ({"max_batch": 5}, "no option 'max_batch': did you mean 'max_batches'?"),
        ({"api_key": "x"}, "no option 'api_key': did you mean 'enrow_api_key'?"),
        ({"base_url": "x"}, "no option 'base_url': did you mean 'enrow_base_url'?"),
        ({"zzz": 1}, "no option 'zzz': the options are batch_ids, enrow_api_key, enrow_base_url, max_batches"),
        ({"max_batches": 0}, "max_batches is 0: set it to"),
        ({"max_batches": -1}, "max_batches is -1: set it to"),
        ({"connections": 0}, "connections is 0: set it to"),
        ({"connections": 257}, "connections is 257: set it to 1 to 256"),
    ],
)
def test_wrong_option_names_the_right_one(
    api: SimulatedEnrow, new_source: NewSource, options: dict[str, Any], message: str
) -> None:
    """A wrong option is an error that names the right one."""
    with pytest.raises(ConfigurationError) as caught:
        new_source(["a"], **options)
    assert message in str(caught.value)
    assert api.requests == []


@pytest.mark.parametrize(
    "config,secrets,message",
    [
        ("max_batch = 5", "", "no option 'max_batch' under [sources.enrow]: did you mean 'max_batches'?"),
        ("", 'api_key = "hunter2"', "no option 'api_key' under [sources.enrow]: did you mean 'enrow_api_key'?"),
        ("max_batches = 0", "", "max_batches is 0"),
        ('enrow_base_url = "http://api.enrow.io"', 'enrow_api_key = "hunter2"', "use https"),
        ("", 'enrow_api_key = ""', "ENROW_API_KEY"),
        ("", 'enrow_api_key = "hunter2\\nx"', "ENROW_API_KEY"),
    ],
)
def test_wrong_configuration_names_the_right_one(configure: Configure, config: str, secrets: str, message: str) -> None:
    """A wrong line in the files is an error that names the right one."""
    configure(config=f"[sources.enrow]\n{config}", secrets=f"[sources.enrow]\n{secrets}")
    with pytest.raises(ConfigurationError) as caught:
        enrow_source(["a"])
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["MAX_BATCH", "API_KEY"])
def test_a_wrong_option_in_the_environment_is_an_error(
    api: SimulatedEnrow, new_source: NewSource, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"SOURCES__ENROW__{name}", "1")
    with pytest.raises(UnknownOptionError, match=f"no option '{name.lower()}'.*: did you mean"):
        new_source(["a"])
    assert api.requests == []


def test_unknown_option_is_a_type_error(new_source: NewSource) -> None:
    """An unknown option is a `TypeError`, as for any function."""
    with pytest.raises(UnknownOptionError) as caught:
        new_source(["a"], max_batch=5)
    assert isinstance(caught.value, TypeError)


def test_http_beyond_loopback_is_refused() -> None:
    """http elsewhere than loopback is an error before the first request."""
    with pytest.raises(ConfigurationError, match="unencrypted: use https"):
        enrow_source(["a"], enrow_api_key="a-made-up-key", enrow_base_url="http://api.enrow.io")


def test_arguments_overrule_the_config_file(api: SimulatedEnrow, new_source: NewSource, configure: Configure) -> None:
    """Options come from the configuration file, and an argument overrules it."""
    configure(config="[sources.enrow]\nmax_batches = 1")
    ids = [api.add_completed(batch_id, 1) for batch_id in "abc"]
    list(new_source(ids))
    assert fetches(api, "abc") == [1, 0, 0]
    list(new_source(ids, max_batches=2))
    assert fetches(api, "abc") == [2, 1, 0]


def test_bad_key_ends_the_run(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """A bad key ends the run, and what is loaded stays."""
    api.add_completed("a", 2)
    api.add_completed("b", 1)
    warehouse.run(new_source(["a"]))
    before = contents(warehouse)
    with pytest.raises(PipelineStepFailed) as caught:
        warehouse.run(enrow_source(["a", "b"], enrow_api_key="revoked-key", enrow_base_url=api.url))
    message = "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "InvalidApiKeyError: the API refused the key (This apikey is not valid)" in message
    assert [line for line in message.splitlines() if "revoked-key" in line and "enrow_source(" not in line] == []
    assert contents(warehouse) == before
    warehouse.run(new_source(["a", "b"]))
    assert contents(warehouse) == completed(a=2, b=1)


def test_the_key_is_in_no_file_that_a_run_leaves(
    api: SimulatedEnrow, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = api.api_key = "k3y-that-nothing-else-holds"
    monkeypatch.setenv("ENROW_API_KEY", key)
    api.respond("echo", Response.message(400, f"{key} may not read this"))
    warehouse.run(enrow_source([api.add_completed("a", 1), "echo"], enrow_base_url=api.url))
    api.api_key = "another"
    with pytest.raises(PipelineStepFailed) as caught:
        warehouse.run(enrow_source(["b"], enrow_base_url=api.url))
    assert key not in str(caught.value)
    warehouse.close()
    files = [file for file in warehouse.folder.rglob("*") if file.is_file()]
    assert [file for file in files if key.encode() in file.read_bytes()] == []
    assert len(files) > 5
    assert len(api.requests) == 3
