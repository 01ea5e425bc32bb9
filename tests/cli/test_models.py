"""`or-stream models` in this process, against the emulator's catalogue and against one of made-up prices."""

import io
import json
import re

import pytest
from rich.console import Console

from or_stream.catalog import Model
from or_stream.cli._models import _picture, _table

PRICED = {"prompt": "0.0000003", "completion": "0.0000025", "image_output": "0.00003"}


def drawing(prices, **fields):
    return Model.read({"id": "a/b", "architecture": {"output_modalities": ["image"]}, "pricing": prices, **fields})


def test_table(invoke):
    """The table has a line for each model, with its prices, and nothing is cut off in a pipe."""
    result = invoke("models")
    heading, *lines = result.stdout.splitlines()
    assert (0, ["model", "context", "$/M", "in", "$/M", "out", "picture", "in", "out"]) == (result.exit_code, heading.split())
    assert f"{len(lines)} models" in result.stderr
    assert re.search(r"^google/gemini-2\.5-flash-image +32,768 +0\.30 +2\.50 +\$30\.00/M +", result.stdout, re.MULTILINE)
    assert "…" not in result.stdout


def test_output(invoke):
    """Only models with that output are listed."""
    found = json.loads(invoke("models", "--output", "image", "--json").stdout)
    assert found
    assert all("image" in model["output_modalities"] for model in found)
    assert any(model["output_modalities"] == ["image"] for model in found)


def test_filters_together(invoke):
    """Every option narrows what is listed."""
    options = ("--output", "text", "--input", "image", "--parameter", "tools", "--max-price", "20")
    found = json.loads(invoke("models", *options, "--json").stdout)
    everything = json.loads(invoke("models", "--json").stdout)
    assert 0 < len(found) < len(everything)
    for model in found:
        assert "image" in model["input_modalities"]
        assert "tools" in model["supported_parameters"]
        assert model["pricing"]["completion"] <= 20e-6


def test_provider(invoke):
    """The service is asked who serves what."""
    found = json.loads(invoke("models", "--provider", "Google", "--json").stdout)
    assert found
    assert all(model["id"].startswith("google/") for model in found)


def test_free(served, invoke):
    """Only what costs nothing is listed."""
    found = json.loads(invoke("models", "--free", "--json").stdout)
    assert all(model["pricing"]["prompt"] == 0 for model in found)


def test_json(invoke):
    """The JSON is one array, and pydantic reads each model back."""
    found = [Model.model_validate(model) for model in json.loads(invoke("models", "--json").stdout)]
    assert all(model.id and model.name and model.created for model in found)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_none(invoke, options):
    """Nothing found is no failure: an empty list, and a word about it."""
    result = invoke("models", "--output", "smell", *options)
    assert (0, "[]" if options else "") == (result.exit_code, result.stdout.strip())
    assert bool(options) is ("no model has all of that" not in result.stderr)


def test_no_service(invoke):
    """Where the catalogue cannot be had the exit code is 1, and no made-up list is shown."""
    environment = {"OPENROUTER_API_KEY": "sk-test", "OPENROUTER_BASE_URL": "http://127.0.0.1:1/api/v1"}
    result = invoke("models", env=environment)
    assert (1, "") == (result.exit_code, result.stdout)
    assert "or-stream: ConnectionFailed" in result.stderr


@pytest.mark.parametrize("arguments", [("--max-price", "-1"), ("--max-price", "cheap"), ("--unknown",)])
def test_wrong_usage(invoke, arguments):
    """Wrong options are wrong usage."""
    assert 2 == invoke("models", *arguments).exit_code


@pytest.mark.parametrize(
    ("price", "shown"),
    [("0.00003", "$30.00/M"), ("0.04", "$0.04"), ("0.0025", "$0.0025"), ("0", "$0"), ("1.5", "$1.50"), (None, "-"), ("-1", "-")],
)
def test_price_of_a_picture(price, shown):
    """The price of a picture is for one, or for a million tokens."""
    assert shown == _picture(drawing({"image_output": price}))


def shown(model: Model, **options) -> str:
    output = io.StringIO()
    Console(width=120, file=output).print(_table([model], **options))
    return output.getvalue()


def test_control_characters():
    """What the service says cannot steer the terminal."""
    assert "\x1b" not in shown(drawing(PRICED, id="a/\x1b[31mb"), is_wide=True)


def test_narrow_terminal():
    """Where there is little room the modalities are left out, not the prices."""
    assert ["a/b", "-", "0.30", "2.50", "$30.00/M"] == shown(drawing(PRICED), is_wide=False).splitlines()[1].split()
