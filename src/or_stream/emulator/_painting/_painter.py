"""A `Scene` as rows of RGB bytes, in pure Python.

Pixels are never visited one by one. A row is made of runs (`bytes * length`), and a translucent layer is `bytes.translate` over
every third byte of a run, which is why a 1024x1024 picture takes about 50 ms and not seconds.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from or_stream.emulator._painting._scene import PALETTES, Colour, Scene

_GLOW_RINGS = 56


def paint(scene: Scene, width: int, height: int) -> list[bytearray]:
    """The rows of the picture, from the top, three bytes a pixel."""
    return _Painter(scene, width, height).paint()


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    part = int(share * 256)
    return (a[0] + ((b[0] - a[0]) * part >> 8), a[1] + ((b[1] - a[1]) * part >> 8), a[2] + ((b[2] - a[2]) * part >> 8))


def _gradient(stops: Sequence[tuple[float, Colour]], at: float) -> Colour:
    for (low, first), (high, second) in pairwise(stops):
        if at <= high:
            return _mix(first, second, max(0.0, (at - low) / (high - low)))
    return stops[-1][1]


@lru_cache(maxsize=4096)
def _blending(value: int, alpha: int) -> bytes:
    """For each old value of a channel, the new one: `alpha`/64 of the way to `value`."""
    return bytes(old + ((value - old) * alpha >> 6) for old in range(256))


class _Painter:
    def __init__(self, scene: Scene, width: int, height: int) -> None:
        self.scene, self.width, self.height = scene, width, height
        self.palette = PALETTES[scene.hour]
        self.random = random.Random(scene.seed)
        self.unit = min(width, height * 1.25)
        self.horizon = int(height * 0.64)
        self.tower_x = int(width * (0.2 if scene.on_the_left else 0.8))
        self.light_x = int(width * (self.random.uniform(0.52, 0.74) if scene.on_the_left else self.random.uniform(0.26, 0.48)))
        self.light_y = int(self.horizon * self.palette.height)
        self.rows: list[bytearray] = []

    def paint(self) -> list[bytearray]:
        self._sky_and_water()
        self._stars()
        self._disc(self.light_x, self.light_y, self.unit * (0.052 if self.palette.height < 0.5 else 0.062), self.palette.light)
        self._clouds()
        self._mirror_water()
        if self.scene.mountains:
            self._ridge(self.palette.ridges[0], 0.10, 3.1, self.horizon)
            self._ridge(self.palette.ridges[1], 0.055, 4.7, self.horizon)
        self._waves()
        if self.scene.boat:
            self._boat()
        ground = self._headland()
        if self.scene.lighthouse:
            self._lighthouse(ground)
        return self.rows

    # Layers, from the back to the front.

    def _sky_and_water(self) -> None:
        """Every row, its gradient lit by rings around the sun. In exact colours, since translucent rings would show as bands."""
        reach = self.unit * 0.62
        rings = [
            ((reach * (ring + 1) / _GLOW_RINGS) ** 2, int(226 * (1 - (ring + 0.5) / _GLOW_RINGS) ** 2.4))
            for ring in range(_GLOW_RINGS)
        ]
        for y in range(self.height):
            base = self._base_colour(y)
            distance = abs(y - self.light_y)
            if distance >= reach:
                self.rows.append(bytearray(bytes(base) * self.width))
                continue
            self.rows.append(self._lit_row(base, distance, rings))

    def _base_colour(self, y: int) -> Colour:
        if y < self.horizon:
            return _gradient(self.palette.sky, y / self.horizon)
        depth = (y - self.horizon) / max(1, self.height - self.horizon)
        return _mix(self.palette.sky[-1][1], self.palette.sea, min(1.0, 0.45 + depth * 0.75))

    def _lit_row(self, base: Colour, distance: int, rings: Sequence[tuple[float, int]]) -> bytearray:
        """`rings` are their squared radii and shares of 256. The colours are mixed in place: a call for each costs 30 ms."""
        right: list[bytes] = []
        red, green, blue = base
        to_red, to_green, to_blue = (glow - own for glow, own in zip(self.palette.glow, base, strict=True))
        squared, done = distance * distance, 0
        for radius, part in rings:
            if radius <= squared:
                continue
            edge = int(math.sqrt(radius - squared) * 1.35)
            colour = bytes((red + (to_red * part >> 8), green + (to_green * part >> 8), blue + (to_blue * part >> 8)))
            right.append(colour * (edge - done))
            done = edge
        left = right[::-1]
        beyond = bytes(base)
        before, after = self.light_x - done, self.width - self.light_x - done
        row = beyond * before + b"".join(left) + b"".join(right) + beyond * after
        start = 3 * max(0, -before)
        return bytearray(row[start : start + 3 * self.width])

    def _stars(self) -> None:
        size = max(1, round(self.unit / 900))
        for _ in range(int(self.palette.stars * self.width / max(1, self.unit))):
            x, y = self.random.randrange(self.width), int(self.horizon * 0.8 * self.random.random() ** 1.4)
            bright = self.random.choice((18, 26, 34, 46, 60)) * (1 - y / max(1, self.horizon)) ** 0.5
            self._fill_blend((x, x + size), range(y, y + size), (255, 250, 240), int(bright))
            if bright > 48:
                self._fill_blend((x - 2 * size, x + 3 * size), range(y, y + size), (255, 250, 240), 18)
                self._fill_blend((x, x + size), range(y - 2 * size, y + 3 * size), (255, 250, 240), 18)

    def _disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        for size, alpha in ((radius + 0.8, 24), (radius, 24), (radius - 0.8, 64)):
            for row in range(max(0, int(y - size)), min(self.horizon, int(y + size) + 1)):
                half = math.sqrt(max(0.0, size * size - (row - y) ** 2))
                self._blend(row, x - half, x + half, colour, alpha)

    def _clouds(self) -> None:
        for _ in range(9):
            x, y = self.random.random() * self.width, self.horizon * self.random.uniform(0.25, 0.93)
            long, high = self.unit * self.random.uniform(0.1, 0.34), self.unit * self.random.uniform(0.004, 0.014)
            for part in range(4):
                cx, cy = x + self.random.uniform(-0.6, 0.6) * long, y + self.random.uniform(-1.2, 1.2) * high
                for scale, alpha in ((1.0, 5), (0.8, 6), (0.55, 7)):
                    self._ellipse((cx, cy), long * scale * (1 - part * 0.15), high * scale, self.palette.cloud, alpha)

    def _ellipse(self, centre: tuple[float, float], long: float, high: float, colour: Colour, alpha: int) -> None:
        x, y = centre
        for row in range(max(0, int(y - high)), min(self.horizon, int(y + high) + 1)):
            inside = 1 - ((row - y) / max(high, 0.5)) ** 2
            if inside > 0:
                half = long * math.sqrt(inside)
                self._blend(row, x - half, x + half, colour, alpha)

    def _mirror_water(self) -> None:
        """The first rows of the water are brighter, as the horizon is never a hard line."""
        for step in range(int(self.height * 0.02)):
            self._blend(self.horizon + step, 0, self.width, self.palette.sky[-1][1], max(0, 20 - step))

    def _ridge(self, colour: Colour, rise: float, waves: float, base: int) -> None:
        haze = self.palette.sky[-1][1]
        clear = max(1.0, self.height * rise * 1.3)
        self._fill_below(
            self._skyline(rise, waves, base), base, lambda y: _mix(colour, haze, max(0.0, 0.55 * (1 - (base - y) / clear)))
        )

    def _fill_below(self, tops: Sequence[float], base: int, shade: Callable[[int], Colour]) -> None:
        """Everything between a skyline and a row, its upper edge smoothed."""
        for y, spans in self._spans(tops, base):
            pixel = bytes(shade(y))
            for start, end in spans:
                self.rows[y][3 * start : 3 * end] = pixel * (end - start)
        for x, top in enumerate(tops):
            self._blend(int(top), x, x + 1, shade(int(top)), int((1 - top + int(top)) * 64))

    def _skyline(self, rise: float, waves: float, base: int) -> list[float]:
        phases = [self.random.random() * math.tau for _ in range(5)]
        tops = []
        for x in range(self.width):
            at = x / self.unit * waves
            swell = math.sin(at + phases[0]) + 0.5 * math.sin(2.3 * at + phases[1]) + 0.25 * math.sin(5.1 * at + phases[2])
            detail = 0.1 * abs(math.sin(11 * at + phases[3])) + 0.05 * abs(math.sin(23 * at + phases[4]))
            tops.append(max(0.0, base - self.height * rise * (0.55 + 0.32 * swell + detail)))
        return tops

    def _spans(self, tops: Sequence[float], base: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """For each row, the runs of columns whose skyline is above it."""
        edges: dict[int, list[int]] = {}
        whole = [min(base, int(top) + 1) for top in tops]
        for y in range(whole[0], base):
            edges.setdefault(y, []).append(0)
        for x in range(1, self.width):
            for y in range(min(whole[x - 1 : x + 1]), max(whole[x - 1 : x + 1])):
                edges.setdefault(y, []).append(x)
        for y, at in edges.items():
            if 0 <= y < self.height:
                closed = at + [self.width] * (len(at) % 2)
                yield y, list(zip(closed[::2], closed[1::2], strict=True))

    def _waves(self) -> None:
        depth_rows = self.height - self.horizon
        crest = max(1, round(self.unit / 700))
        for y in range(self.horizon + 1, self.height, crest):
            depth = (y - self.horizon) / depth_rows
            for _ in range(2):
                x, long = self.random.random() * self.width, self.unit * (0.01 + 0.09 * depth) * self.random.random()
                tone, alpha = self.random.choice(((self.palette.sky[-1][1], 8), (self.palette.sea, 16), (self.palette.cloud, 5)))
                self._fill_blend((x, x + long), range(y, y + crest), tone, alpha)
            spread = self.unit * (0.035 + 0.13 * depth)
            for _ in range(3):
                x = self.light_x + self.random.gauss(0, 0.5) * spread
                long = self.unit * (0.006 + 0.04 * depth * self.random.random())
                fade = int(self.random.choice((14, 24, 36)) * (1 - 0.6 * depth))
                self._fill_blend((x - long, x + long), range(y, y + crest), self.palette.light, fade)

    def _boat(self) -> None:
        x = self.width * (0.78 if self.scene.on_the_left else 0.2)
        y, size = self.horizon + self.height * 0.055, self.unit * 0.05
        dark, sail = (
            self.palette.ridges[2],
            _mix(self.palette.ridges[2], self.palette.light, 0.72 * self.palette.brightness + 0.2),
        )
        for row in range(int(y - size), int(y)):
            share = (row - y + size) / size
            self._run(row, x + size * 0.04, x + size * (0.04 + 0.46 * share), sail)
            if share > 0.2:
                self._run(row, x - size * 0.3 * (share - 0.2), x - size * 0.02, _mix(sail, dark, 0.25))
        for row in range(int(y), int(y + size * 0.14)):
            share = (row - y) / (size * 0.14)
            self._run(row, x - size * (0.5 - 0.18 * share), x + size * (0.6 - 0.22 * share), dark)
        for row in range(int(y + size * 0.14), int(y + size * 0.6)):
            self._blend(row, x - size * 0.4, x + size * 0.45, dark, 14)

    def _headland(self) -> Callable[[float], float]:
        """The dark land in front. Returns the height of its ground, by column."""
        phase = self.random.random() * math.tau
        sign = 1 if self.scene.on_the_left else -1

        def ground(x: float) -> float:
            away = max(0.0, sign * (x - self.tower_x)) / self.unit
            inland = max(0.0, sign * (self.tower_x - x)) / self.unit
            rough = 0.006 * math.sin(40 * x / self.unit + phase) + 0.004 * math.sin(97 * x / self.unit)
            return self.height * (0.74 + 1.55 * math.pow(away, 1.55) - 0.06 * inland + rough * (1 + 5 * away))

        dark, sea = self.palette.ridges[2], self.palette.sea
        tops = [ground(x) for x in range(self.width)]
        self._fill_below(tops, self.height, lambda y: _mix(dark, sea, 0.22 * y / self.height))
        return ground

    def _lighthouse(self, ground: Callable[[float], float]) -> None:
        unit, x = self.unit, self.tower_x
        base, top = int(ground(x) + unit * 0.006), int(self.height * 0.74 - unit * 0.36)
        lit_from = 1 if self.light_x > x else -1
        for y in range(max(0, top), min(self.height, base)):
            down = (y - top) / (base - top)
            band = (188, 44, 44) if int(down * 5.999) % 2 else (244, 238, 226)
            self._cylinder(y, x, unit * (0.021 + 0.015 * down), band, lit_from)
        for down in (0.24, 0.58):
            window = top + (base - top) * down
            for row in range(int(window), int(window + unit * 0.018)):
                self._run(row, x - unit * 0.0045, x + unit * 0.0045, (255, 214, 120))
        self._lantern(x, top, lit_from)

    def _lantern(self, x: int, top: int, lit_from: int) -> None:
        unit, dark = self.unit, _mix((30, 30, 40), self.palette.ridges[2], 0.5)
        lamp = top - unit * 0.03
        if self.palette.brightness < 0.8:
            self._beam(x, lamp, 1, 0.10, -0.055)
            self._beam(x, lamp, -1, 0.055, -0.10)
            for ring in range(16):
                self._halo(x, lamp, unit * 0.13 * (1 - ring / 16), 2 + ring // 5)
        for y in range(int(top - unit * 0.048), int(top - unit * 0.008)):
            self._run(y, x - unit * 0.0165, x + unit * 0.0165, (255, 236, 164))
            for bar in (-0.0165, -0.006, 0.0055, 0.015):
                self._run(y, x + unit * bar, x + unit * (bar + 0.002), dark)
        for y in range(int(top - unit * 0.008), int(top + unit * 0.004)):
            self._cylinder(y, x, unit * 0.031, dark, lit_from)
        for y in range(int(top - unit * 0.078), int(top - unit * 0.048)):
            down = (y - top + unit * 0.078) / (unit * 0.03)
            self._cylinder(y, x, unit * 0.021 * math.sqrt(max(0.0, down)), (150, 40, 40), lit_from)
        for y in range(int(top - unit * 0.1), int(top - unit * 0.078)):
            self._run(y, x - unit * 0.0016, x + unit * 0.0016, dark)

    def _cylinder(self, y: int, x: float, half: float, colour: Colour, lit_from: int) -> None:
        """One row of something round: eleven runs, from the side that has the light to the one that has not."""
        for strip in range(11):
            across = (strip - 5) / 5.5 * lit_from
            shade = self.palette.brightness * (0.78 + 0.34 * across - 0.22 * across * across)
            start = x + half * (strip - 5.5) / 5.5
            self._run(y, start, start + half / 5.5 + 0.5, _mix(self.palette.ridges[2], colour, min(1.0, max(0.0, shade))))

    def _beam(self, x: float, y: float, side: int, lower: float, upper: float) -> None:
        """A wedge of light, in runs that grow fainter."""
        reach, parts = self.unit * 0.85, 20
        for row in range(int(y + upper * reach), int(y + lower * reach) + 1):
            slope = lower if row >= y else upper
            nearest = max((row - y) / slope, self.unit * 0.012)
            for part in range(parts):
                start, end = max(nearest, reach * part / parts), reach * (part + 1) / parts
                if start < end:
                    low, high = sorted((x + side * start, x + side * end))
                    self._blend(row, low, high, (255, 240, 196), max(1, int(16 * (1 - part / parts) ** 1.6)))

    def _halo(self, x: float, y: float, radius: float, alpha: int) -> None:
        for row in range(int(y - radius), int(y + radius) + 1):
            half = math.sqrt(max(0.0, radius * radius - (row - y) ** 2))
            self._blend(row, x - half, x + half, (255, 224, 150), alpha)

    # Brushes. All of them clip.

    def _run(self, y: int, start: float, end: float, colour: Colour) -> None:
        first, last = max(0, round(start)), min(self.width, round(end))
        if 0 <= y < self.height and first < last:
            self.rows[y][3 * first : 3 * last] = bytes(colour) * (last - first)

    def _blend(self, y: int, start: float, end: float, colour: Colour, alpha: int) -> None:
        """`alpha` is in 64ths; less than none is none, more than all is all."""
        alpha = max(0, min(64, alpha))
        first, last = 3 * max(0, round(start)), 3 * min(self.width, round(end))
        if 0 <= y < self.height and first < last:
            row = self.rows[y]
            for channel, value in enumerate(colour):
                part = slice(first + channel, last, 3)
                row[part] = row[part].translate(_blending(value, alpha))

    def _fill_blend(self, across: tuple[float, float], rows: range, colour: Colour, alpha: int) -> None:
        for y in rows:
            self._blend(y, *across, colour, alpha)
