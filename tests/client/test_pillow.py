"""PIL images sent in, and pictures made smaller where that is asked for."""

import base64
import io
import subprocess
import sys
import warnings

import PIL.ExifTags
import PIL.Image
import pytest

from or_stream import ConfigurationError, Image, Picture
from or_stream.client.request import loaded_picture
from or_stream.emulator import data_url, picture


def halves(mode="RGB", size=(40, 20)):
    """Red on the left, blue on the right."""
    image = PIL.Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    return image.convert(mode)


def turned(orientation):
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = orientation
    return exif


def in_file(kind, image=None, **options):
    """Encoded by Pillow."""
    target = io.BytesIO()
    (image or halves()).save(target, kind, **options)
    return target.getvalue()


def opened(data):
    return PIL.Image.open(io.BytesIO(data))


def sent(image, **wishes):
    """What the service would see."""
    return opened(loaded_picture(Picture(image, **wishes) if wishes else image).data)


def refusal_of(image, **wishes):
    with pytest.raises(ConfigurationError) as caught:
        sent(image, **wishes)
    return str(caught.value)


def shows(image):
    """Which colour is at the left, right, top and bottom."""
    width, height = image.size
    spots = {
        "left": (1, height // 2),
        "right": (width - 2, height // 2),
        "top": (width // 2, 1),
        "bottom": (width // 2, height - 2),
    }
    pixels = {side: image.convert("RGB").getpixel(spot) for side, spot in spots.items()}
    return {side: "red" if red > 200 > blue else "blue" if blue > 200 > red else "?" for side, (red, _, blue) in pixels.items()}


# ---- PIL images


async def test_pil_image_reaches_the_service(emulator, client):
    """It arrives as base64 of its own format, beside the prompt."""
    await client.generate("make it night", images=[opened(in_file("JPEG"))])
    text, part = emulator.requests[-1].body["messages"][0]["content"]
    assert text == {"type": "text", "text": "make it night"}
    head, _, data = part["image_url"]["url"].partition(",")
    assert (head, opened(base64.b64decode(data)).size) == ("data:image/jpeg;base64", (40, 20))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_format_is_kept(kind):
    """A picture goes out in the format it was opened in, as far as the service takes it."""
    assert sent(opened(in_file(kind))).format == kind


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM"])
def test_other_formats_become_png(kind):
    """What the service does not take, and what has no format, goes out without a loss."""
    image = sent(opened(in_file(kind)))
    assert (image.format, image.tobytes()) == ("PNG", halves().tobytes())


def test_made_picture_becomes_png():
    """A picture that was never in a file."""
    assert (sent(halves()).format, sent(halves()).tobytes()) == ("PNG", halves().tobytes())


def test_jpeg_is_not_coarser():
    """A JPEG is written with the tables that it came with, so that hardly a value changes."""
    source = in_file("JPEG", quality=60)
    assert opened(source).quantization == sent(opened(source)).quantization


def test_grey_jpeg_stays_grey():
    """One channel is one channel."""
    image = sent(opened(in_file("JPEG", halves("L"))))
    assert (image.format, image.mode) == ("JPEG", "L")


def test_photo_of_two_pictures_is_a_jpeg():
    """MPO, as phones make it, goes out as the JPEG that it begins with."""
    data = in_file("MPO", save_all=True, append_images=[halves()])
    assert opened(data).format == "MPO"
    assert (sent(opened(data)).format, sent(opened(data)).size) == ("JPEG", (40, 20))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_mode_that_png_holds(mode):
    """Every pixel arrives as it was."""
    image = PIL.Image.new(mode, (4, 4), 1)
    assert sent(image).tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("mode", "shown"), [("CMYK", "RGB"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("RGBX", "RGB"), ("RGBa", "RGBA")]
)
def test_mode_that_no_format_holds(mode, shown):
    """It is converted to one that looks the same."""
    image = halves("RGBA").convert(mode) if mode == "RGBa" else halves(mode)
    assert (sent(image).mode, shows(sent(image))["left"], shows(sent(image))["right"]) == (shown, "red", "blue")


def test_cmyk_jpeg_stays_a_jpeg():
    """Four inks become three colours, without the profile of the inks."""
    image = sent(opened(in_file("JPEG", halves("CMYK"), icc_profile=b"of inks")))
    assert (image.format, image.mode, shows(image)["left"], "icc_profile" in image.info) == ("JPEG", "RGB", "red", False)


def test_palette_with_a_transparent_colour():
    """What could be seen through stays so."""
    image = halves("P")
    image.info["transparency"] = image.getpixel((0, 0))
    assert sent(image).convert("RGBA").getpixel((0, 0))[3] == 0
    assert sent(image, max_pixels=200).getpixel((0, 0))[3] == 0


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_mode_without_a_fixed_meaning_is_refused(mode):
    """The refusal says what to do."""
    assert f"mode '{mode}'" in refusal_of(PIL.Image.new(mode, (4, 4)))
    assert "convert it" in refusal_of(PIL.Image.new(mode, (4, 4)))


def test_colours_keep_their_profile():
    """The colour profile goes along."""
    for kind in ("PNG", "JPEG", "WEBP"):
        assert sent(opened(in_file(kind, icc_profile=b"a profile"))).info["icc_profile"] == b"a profile"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(("orientation", "red"), [(1, "left"), (3, "right"), (6, "top"), (8, "bottom")])
def test_picture_is_upright(kind, orientation, red):
    """What EXIF says about the way up is done, once, so that everyone who looks sees the same."""
    image = sent(opened(in_file(kind, exif=turned(orientation))))
    assert shows(image)[red] == "red"
    assert image.getexif().get(PIL.ExifTags.Base.Orientation, 1) == 1


def test_picture_of_the_caller_stays_as_it_is():
    """Neither turned nor smaller nor converted."""
    image = opened(in_file("JPEG", halves("CMYK"), exif=turned(6)))
    sent(image, max_pixels=100)
    assert (image.size, image.mode, image.getexif()[PIL.ExifTags.Base.Orientation]) == ((40, 20), "CMYK", 6)


def test_one_frame_of_an_animation():
    """The one at which the picture stands."""
    image = opened(in_file("GIF", save_all=True, append_images=[halves().rotate(180)]))
    assert (shows(sent(image))["left"], getattr(sent(image), "n_frames", 1)) == ("red", 1)
    image.seek(1)
    assert shows(sent(image))["left"] == "blue"


def test_pil_image_of_no_pixels():
    """Refused, as an empty file is."""
    assert "empty" in refusal_of(PIL.Image.new("RGB", (0, 5)))


def test_pil_image_of_a_file_cut_short():
    """Pillow reads late: what it then finds is a refusal that names the picture."""
    image = opened(in_file("PNG", PIL.Image.effect_noise((100, 100), 50))[:500])
    assert "the PIL image of 100 x 100 pixels cannot be read" in refusal_of(image)


# ---- wishes


async def test_detail_reaches_the_service(emulator, client):
    """How closely the model is to look stands beside the picture, for addresses too."""
    images = [Picture(picture("a", 8, 8), detail="low"), Picture("https://a.example/b.png", detail="original")]
    await client.generate("what is it", images=images)
    parts = [part["image_url"] for part in emulator.requests[-1].body["messages"][0]["content"][1:]]
    assert [part["detail"] for part in parts] == ["low", "original"]
    assert parts[1]["url"] == "https://a.example/b.png"


async def test_image_api_is_told_no_detail(emulator, client):
    """It has no such word."""
    await client.generate("edit it", model="openai/gpt-image-2", images=[Picture(picture("a", 8, 8), detail="low")])
    (reference,) = emulator.requests[-1].body["input_references"]
    assert list(reference["image_url"]) == ["url"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(400, 200), (333, 777), (1000, 1), (1, 1000), (7, 5)])
@pytest.mark.parametrize("max_pixels", [1, 10, 5000])
def test_smaller_picture(kind, size, max_pixels):
    """At most so many pixels, in the format that it had, and never more than it had."""
    image = sent(in_file(kind, halves(size=size)), max_pixels=max_pixels)
    assert image.width * image.height <= min(max_pixels, size[0] * size[1])
    assert image.format == kind


def test_proportions_are_kept():
    """Half as wide is half as high."""
    assert sent(in_file("JPEG", halves(size=(4000, 3000))), max_pixels=120_000).size == (400, 300)


def test_small_picture_is_sent_as_it_is():
    """Nothing is made larger, or written again."""
    data = in_file("JPEG", exif=turned(6))
    assert loaded_picture(Picture(data, max_pixels=800)).data == data


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_smaller_picture_is_upright(kind):
    """A picture that is written again is turned first."""
    image = sent(in_file(kind, exif=turned(6)), max_pixels=200)
    assert (image.size, shows(image)["top"], shows(image)["bottom"]) == ((10, 20), "red", "blue")


def test_smaller_pil_image_path_and_earlier_result(tmp_path):
    """Every source that has bytes can be made smaller."""
    path = tmp_path / "a.png"
    path.write_bytes(in_file("PNG"))
    for source in (halves(), path, str(path), Image.from_file(path), Image.from_bytes(path.read_bytes())):
        assert sent(source, max_pixels=200).size == (20, 10)


def test_smaller_gif_is_one_frame():
    """The first one, in all its colours."""
    image = sent(in_file("GIF", save_all=True, append_images=[halves().rotate(180)]), max_pixels=200)
    assert (image.format, shows(image)["left"]) == ("PNG", "red")


def test_sixteen_bits_are_not_made_smaller():
    """Pillow would only leave pixels out."""
    assert "'I;16'" in refusal_of(PIL.Image.new("I;16", (40, 20)), max_pixels=10)


@pytest.mark.parametrize("address", ["https://a.example/b.png", Image(url="https://a.example/b.png")])
def test_address_is_not_made_smaller(address):
    """Nobody fetches it unasked."""
    assert "fetch_image" in refusal_of(address, max_pixels=10)


def test_data_url_is_made_smaller():
    """It is the picture itself, not its address."""
    assert sent(data_url(picture("a lamp", 40, 20)), max_pixels=200).size == (20, 10)


@pytest.mark.parametrize(
    ("wishes", "hint"),
    [({"max_pixels": value}, "max_pixels must be") for value in (0, -1, 1.5, True, "9")] + [({"detail": "x"}, "low")],
)
def test_wish_is_refused(wishes, hint):
    """At once, where it is made."""
    with pytest.raises(ConfigurationError, match=hint):
        Picture(b"x", **wishes)


def test_picture_of_a_picture_is_refused():
    """There is one set of wishes."""
    with pytest.raises(ConfigurationError, match="not of a Picture"):
        Picture(Picture(b"x"))


def test_repr_is_short():
    """It shows no data."""
    assert repr(Picture(bytes(1000), detail="low")) == "Picture(source=<1,000 bytes>, max_pixels=None, detail='low')"


@pytest.mark.parametrize(("limit", "strict"), [(100, False), (500, True)])
def test_bomb_is_refused(monkeypatch, limit, strict):
    """What Pillow takes for a decompression bomb names the limit, also where its warning is made an error."""
    data = in_file("PNG")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings(action="error" if strict else "ignore"):
        assert "MAX_IMAGE_PIXELS" in refusal_of(data, max_pixels=10)


def test_what_pillow_cannot_open_is_refused():
    """A file that begins like a picture and is none."""
    assert "cannot be read or written by Pillow" in refusal_of(in_file("PNG")[:8] + b"IEND\xaeB`\x82", max_pixels=10)


def test_without_pillow():
    """Where Pillow is not installed everything but `max_pixels` works, and that says what to install."""
    script = """if True:
        import sys
        sys.modules["PIL"] = None
        from or_stream import ConfigurationError, Picture
        from or_stream.client.request import messages_of
        from or_stream.emulator import picture
        (message,) = messages_of("hi", [Picture(picture("a", 8, 8), detail="low")])
        print(message["content"][1]["image_url"]["detail"])
        try:
            messages_of("hi", [Picture(picture("a", 8, 8), max_pixels=10)])
        except ConfigurationError as error:
            print(error)
    """
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert output.splitlines() == ["low", "max_pixels needs Pillow: pip install 'or-stream[pillow]'"]
