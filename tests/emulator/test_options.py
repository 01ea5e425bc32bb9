"""What stands behind a scenario's name: how its bytes are sent, for who cannot write a Scenario."""

from dataclasses import replace

import aiohttp
import pytest

from or_stream.emulator import Close, Reset, Stall, Wait, scenarios


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ("pieces=7&pace=0.5", scenarios.text().cut(7, 0.5)),
        ("pace=2", scenarios.text().cut(None, 2)),
        ("wait=1.5", scenarios.text().after(Wait(1.5))),
        ("end=20", scenarios.text().broken(20)),
        ("close=0", scenarios.text().broken(0, Close())),
        ("reset=900&pieces=1", scenarios.text().cut(1).broken(900, Reset())),
        ("stall=9", scenarios.text().broken(9, Stall())),
        ("gzip", replace(scenarios.text(), gzip=True)),
    ],
)
def test_an_option(options, same):
    """It is what the method of the same purpose makes; its name has it too."""
    assert scenarios.by_name(f"text?{options}") == (replace(same, name=f"text?{options}"),)


def test_every_turn_has_it():
    """Of a name that answers several requests."""
    assert [turn.pieces for turn in scenarios.by_name("unavailable_then_text?pieces=3")] == [3, 3]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("speed=3", "no scenario has the option 'speed'; there are pieces, pace,"),
        ("pieces=0", "pieces=0 makes no sense"),
        ("pieces=x", "pieces=x makes no sense"),
        ("pace=-1", "pace=-1 makes no sense"),
        ("wait=inf", "wait=inf makes no sense"),
        ("close", "close= makes no sense"),
    ],
)
async def test_a_wrong_option(chat, options, complaint):
    """It is refused, and the refusal says why."""
    async with chat.post(model=f"emulator/text?{options}") as response:
        assert response.status == 400
        assert complaint in (await response.json())["error"]["message"]


async def test_by_header_and_by_model(emulator, chat, session):
    """Any client of any language can have an answer that breaks after so many bytes."""
    assert await chat.read(model="emulator/text?end=20&pieces=3") == scenarios.text().body()[:20]
    url, headers = f"{emulator.base_url}/chat/completions", {"x-emulator-scenario": "text?close=20"}
    async with session.post(url, json={"prompt": "hi"}, headers=headers) as response:
        assert await response.content.readexactly(20) == scenarios.text().body()[:20]
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert emulator.requests[-1].scenario == "text?close=20"
