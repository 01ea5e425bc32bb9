"""A receipt puts together what a stream knows and what the service knows."""

from or_stream.catalog import Generation, Receipt
from or_stream.values import Message, Usage

STATS = {
    "seconds": 2.5,
    "seconds_to_headers": 0.5,
    "seconds_to_first_content": 1.0,
    "bytes": 9,
    "events": 3,
    "heartbeats": 2,
    "attempts": 1,
}
KEPT = Generation(
    id="gen-1", model="m", provider="P", cost=0.5, native_finish_reason="STOP", prompt_tokens=1, native_prompt_tokens=2
)


def test_answer_that_said_all():
    """Where the answer said the cost, the receipt is settled without the service."""
    message = Message(model="m", provider="P", finish_reason="stop", usage=Usage(cost=0.25, prompt_tokens=3), status="complete")
    receipt = Receipt.of(message, STATS, generation_id="gen-1", unsettled_because="never asked")
    assert (0.25, 3, True, None, None) == (
        receipt.cost,
        receipt.prompt_tokens,
        receipt.is_settled,
        receipt.unsettled_because,
        receipt.generation,
    )


def test_service_fills_the_gaps():
    """What the answer did not come to say, the service says, in the tokens that are paid for."""
    receipt = Receipt.of(Message(status="cancelled", model="asked"), STATS, generation_id="gen-1", generation=KEPT)
    assert ("asked", "P", 0.5, 2, "STOP") == (
        receipt.model,
        receipt.provider,
        receipt.cost,
        receipt.prompt_tokens,
        receipt.native_finish_reason,
    )
    assert (True, KEPT, "cancelled") == (receipt.is_settled, receipt.generation, receipt.status)


def test_nothing_is_known_of_the_cost():
    """An unsettled receipt has what the stream took, and the reason."""
    receipt = Receipt.of(Message(status="truncated"), STATS, generation_id=None, unsettled_because="no answer")
    assert (None, False, "no answer") == (receipt.cost, receipt.is_settled, receipt.unsettled_because)
    assert STATS == {name: getattr(receipt, name) for name in STATS}


def test_json_there_and_back():
    """A receipt can be written down and read again."""
    receipt = Receipt.of(Message(status="cancelled"), STATS, generation_id="gen-1", generation=KEPT)
    assert receipt == Receipt.model_validate_json(receipt.model_dump_json())
