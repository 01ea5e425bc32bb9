"""Pick the cheapest model that can draw 16:9 at 2K, and let it draw."""

import asyncio

from or_stream import Client
from or_stream.catalog import Model

TOKENS_OF_A_PICTURE = 1290  # for the models that charge by the token; others charge by the picture


def price(model: Model) -> float | None:
    """Dollars for one picture; None where nobody says."""
    return model.estimate(prompt_tokens=20, images=1, tokens_per_image=TOKENS_OF_A_PICTURE)


async def main() -> None:
    async with Client() as client:
        models = await client.models(output_modalities={"image"})
        fitting = [model for model in models if model.image and model.image.allows(aspect_ratio="16:9", resolution="2K")]
        prices = {model.id: usd for model in fitting if (usd := price(model)) is not None}
        for model_id, usd in sorted(prices.items(), key=lambda item: item[1]):
            print(f"${usd:.4f}  {model_id}")
        cheapest = min(prices, key=prices.__getitem__)
        config = {"aspect_ratio": "16:9", "image_size": "2K"}
        message = await client.generate("A lighthouse at dusk", model=cheapest, image_config=config, save_to="out")
    usage = message.usage
    print(f"{message.images[0].path}: {message.images[0].width} pixels wide, ${usage.cost if usage else None}")


if __name__ == "__main__":
    asyncio.run(main())
