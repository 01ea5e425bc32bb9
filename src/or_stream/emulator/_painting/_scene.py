"""What is to be seen in a picture: chosen by the words of the prompt, painted by `_painter`."""

import random
from dataclasses import dataclass
from hashlib import sha256

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one hour. `sky` goes from the zenith down to the horizon."""

    sky: tuple[tuple[float, Colour], ...]
    light: Colour
    glow: Colour
    sea: Colour
    ridges: tuple[Colour, Colour, Colour]
    cloud: Colour
    brightness: float
    height: float
    stars: int


PALETTES = {
    "dawn": Palette(
        sky=((0, (62, 92, 150)), (0.4, (134, 148, 190)), (0.72, (238, 176, 172)), (1, (255, 224, 182))),
        light=(255, 248, 226),
        glow=(255, 214, 160),
        sea=(52, 84, 118),
        ridges=((150, 146, 176), (100, 108, 142), (38, 46, 66)),
        cloud=(255, 236, 226),
        brightness=0.8,
        height=0.86,
        stars=12,
    ),
    "day": Palette(
        sky=((0, (40, 112, 190)), (0.5, (104, 172, 226)), (1, (212, 236, 244))),
        light=(255, 255, 246),
        glow=(255, 250, 220),
        sea=(20, 92, 134),
        ridges=((142, 172, 196), (92, 138, 138), (44, 78, 54)),
        cloud=(255, 255, 255),
        brightness=1.0,
        height=0.3,
        stars=0,
    ),
    "dusk": Palette(
        sky=((0, (22, 22, 60)), (0.34, (70, 44, 106)), (0.62, (178, 76, 112)), (0.84, (242, 134, 92)), (1, (255, 198, 122))),
        light=(255, 242, 208),
        glow=(255, 192, 112),
        sea=(38, 32, 76),
        ridges=((128, 70, 112), (78, 44, 88), (20, 15, 36)),
        cloud=(255, 168, 138),
        brightness=0.66,
        height=0.9,
        stars=90,
    ),
    "night": Palette(
        sky=((0, (5, 8, 26)), (0.5, (13, 25, 60)), (0.8, (27, 51, 94)), (1, (62, 94, 128))),
        light=(248, 246, 230),
        glow=(150, 182, 224),
        sea=(8, 18, 42),
        ridges=((32, 52, 88), (19, 33, 62), (5, 9, 20)),
        cloud=(96, 122, 160),
        brightness=0.42,
        height=0.34,
        stars=320,
    ),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be seen. The same words and index give the same scene."""

    hour: str
    mountains: bool
    lighthouse: bool
    boat: bool
    on_the_left: bool
    seed: int

    @classmethod
    def of(cls, prompt: str, index: int = 0) -> "Scene":
        """Words of the prompt decide where they can, its hash where they cannot."""
        seed = int.from_bytes(sha256(f"{index}|{prompt}".encode()).digest()[:8], "big")
        chance = random.Random(seed)
        words = prompt.lower()
        asked = [hour for hour, names in _HOUR_WORDS.items() if any(name in words for name in names)]
        hours = asked or list(PALETTES)
        hour = hours[index % len(hours)] if asked else chance.choice(hours)
        return cls(
            hour=hour,
            mountains="mountain" in words or "hill" in words or chance.random() < 0.7,
            lighthouse="lighthouse" in words or chance.random() < 0.6,
            boat="boat" in words or "ship" in words or chance.random() < 0.6,
            on_the_left=chance.random() < 0.5,
            seed=seed,
        )

    def describe(self) -> str:
        """One sentence that is true of the picture."""
        side, other = ("left", "right") if self.on_the_left else ("right", "left")
        sky = {
            "dawn": "a pale dawn sky, rose at the horizon",
            "day": "a clear sky over a calm sea",
            "dusk": "a sky going from amber to violet as the sun sets",
            "night": "a starry sky with a bright moon over dark water",
        }[self.hour]
        seen = [f"a lighthouse on the headland to the {side}" if self.lighthouse else f"a dark headland to the {side}"]
        seen += ["blue ridges far behind it"] * self.mountains + [f"a small sailing boat to the {other}"] * self.boat
        listed = seen[0] if len(seen) == 1 else ", ".join(seen[:-1]) + " and " + seen[-1]
        return f"It shows {sky}, with {listed}."


_HOUR_WORDS = {
    "dawn": ("dawn", "sunrise", "morning"),
    "day": ("noon", "daylight", "sunny", "summer"),
    "dusk": ("dusk", "sunset", "evening", "twilight"),
    "night": ("night", "moon", "star"),
}
