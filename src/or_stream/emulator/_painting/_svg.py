"""A `Scene` as SVG: the same things, in a few shapes."""

from or_stream.emulator._painting._scene import PALETTES, Colour, Scene


def svg(scene: Scene, width: int, height: int) -> str:
    """The markup. The same scene gives the same text."""
    palette = PALETTES[scene.hour]
    horizon = int(height * 0.64)
    stops = "".join(f'<stop offset="{at:g}" stop-color="{_hex(colour)}"/>' for at, colour in palette.sky)
    tower = int(width * (0.2 if scene.on_the_left else 0.8))
    shapes = [
        f'<rect width="{width}" height="{height}" fill="url(#sky)"/>',
        f'<circle cx="{width // 2}" cy="{int(horizon * palette.height)}" r="{width // 18}" fill="{_hex(palette.light)}"/>',
        f'<rect y="{horizon}" width="{width}" height="{height - horizon}" fill="{_hex(palette.sea)}"/>',
    ]
    if scene.mountains:
        peak = f"0,{horizon} {width // 3},{horizon - height // 6} {width * 2 // 3},{horizon - height // 9} {width},{horizon}"
        shapes.append(f'<polygon points="{peak}" fill="{_hex(palette.ridges[0])}"/>')
    if scene.lighthouse:
        top = horizon - height // 3
        shapes.append(
            f'<rect x="{tower}" y="{top}" width="{width // 30}" height="{height // 3}" fill="{_hex(palette.ridges[2])}"/>'
        )
    if scene.boat:
        at, deep, low = width // 2, horizon + height // 8, horizon + height // 7
        hull = f"{at},{deep} {at + width // 8},{deep} {at + width // 10},{low} {at + width // 40},{low}"
        shapes.append(f'<polygon points="{hull}" fill="{_hex(palette.ridges[2])}"/>')
    sky = f'<defs><linearGradient id="sky" x2="0" y2="1">{stops}</linearGradient></defs>'
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{sky}{"".join(shapes)}</svg>'


def _hex(colour: Colour) -> str:
    return "#" + bytes(colour).hex()
