"""Pick the cheapest model that can draw 16:9 at 2K, and let it draw."""

import asyncio

from or_stream import Client, ImageConfig
from or_stream.catalog import Model

CONFIG: ImageConfig = {"aspect_ratio": "16:9", "image_size": "2K"}
# How much such a picture is, by what providers charge for. How many tokens it has differs from model to model: about this many.
UNITS_OF_A_PICTURE = {"image": 1, "megapixel": 4, "token": 4096}


async def price(client: Client, model: Model) -> float | None:
    """Dollars for one picture where it is cheapest, as providers say it, else by the model's price; None where nobody says."""
    lines = [line for endpoint in await client.endpoints(model.id) for line in endpoint.image_prices]
    said = [line for line in lines if line.billable == "output_image" and line.variant in (None, "2K")]
    prices = [
        line.usd * UNITS_OF_A_PICTURE[line.unit] for line in said if line.usd is not None and line.unit in UNITS_OF_A_PICTURE
    ]
    return min(prices, default=model.estimate(images=1, tokens_per_image=UNITS_OF_A_PICTURE["token"]))


async def main() -> None:
    async with Client() as client:
        models = await client.models(output_modalities={"image"})
        fitting = [model for model in models if model.image and model.image.allows(**CONFIG)]
        said = await asyncio.gather(*(price(client, model) for model in fitting))
        prices = {model.id: usd for model, usd in zip(fitting, said, strict=True) if usd is not None}
        for model_id, usd in sorted(prices.items(), key=lambda item: item[1]):
            print(f"${usd:.4f}  {model_id}")
        cheapest = min(prices, key=prices.__getitem__)
        message = await client.generate("A lighthouse at dusk", model=cheapest, image_config=CONFIG, save_to="out")
    (image,), usage = message.images, message.usage
    print(f"{image.path}: {image.width} pixels wide, ${usage.cost if usage else None}")


if __name__ == "__main__":
    asyncio.run(main())
