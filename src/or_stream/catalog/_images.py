"""What the Image API says of its models and of who serves them."""

from typing import Any, Self

from pydantic import Field, StrictBool

from or_stream.catalog._record import Number, Record

__all__ = ["ImageOptions", "ImageParameter", "ImagePrice"]


class ImageParameter(Record):
    """What one parameter of the Image API may be: one of `values`, from `min` to `max`, or, of type "boolean", anything."""

    type: str = ""
    values: tuple[Any, ...] = ()
    min: Number | None = None
    max: Number | None = None

    def allows(self, value: Any) -> bool:
        """Whether the model takes this value, as far as it says."""
        if self.type == "enum":
            return not self.values or value in self.values
        if self.type != "range":
            return True
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


class ImageOptions(Record):
    """What a model takes on the Image API: `parameters` by their names there. One that is missing is not supported.

    `streams` is whether the model sends previews while it draws.
    """

    parameters: dict[str, ImageParameter] = Field(default_factory=dict)
    streams: StrictBool | None = None

    @classmethod
    def read(cls, document: Any) -> Self:
        """From an entry of `GET /images/models`, or an endpoint of one."""
        said = document if isinstance(document, dict) else {}
        parameters = said.get("supported_parameters")
        described = parameters.items() if isinstance(parameters, dict) else ()
        return super().read(
            {
                "parameters": {name: ImageParameter.read(entry) for name, entry in described if isinstance(entry, dict)},
                "streams": said.get("supports_streaming"),
            }
        )

    @property
    def sizes(self) -> tuple[str, ...]:
        """Such as "2048x2048"; empty where the model does not say."""
        return self._strings("size")

    @property
    def aspect_ratios(self) -> tuple[str, ...]:
        """Such as "16:9"; empty where the model does not say."""
        return self._strings("aspect_ratio")

    @property
    def resolutions(self) -> tuple[str, ...]:
        """Such as "2K"; empty where the model does not say."""
        return self._strings("resolution")

    @property
    def max_images(self) -> int | None:
        """How many pictures one request may ask for; None where the model does not say."""
        return self._most("n", without=1)

    @property
    def max_input_images(self) -> int | None:
        """How many pictures may be sent in; None where the model does not say."""
        return self._most("input_references", without=0)

    def allows(self, **parameters: Any) -> bool | None:
        """Whether the model takes all of these, such as `aspect_ratio="16:9", image_size="2K"`; None where it says nothing.

        The names are those of `ImageConfig`, whose `image_size` is the `resolution` of the Image API.
        """
        if not self.parameters:
            return None
        if "image_size" in parameters:
            size = parameters.pop("image_size")
            parameters["resolution"] = "512" if size == "0.5K" else size
        if "n" not in self.parameters and parameters.get("n") == 1:  # one picture is what every model draws
            del parameters["n"]
        return all(name in self.parameters and self.parameters[name].allows(value) for name, value in parameters.items())

    def _strings(self, name: str) -> tuple[str, ...]:
        parameter = self.parameters.get(name)
        return tuple(value for value in parameter.values if isinstance(value, str)) if parameter is not None else ()

    def _most(self, name: str, *, without: int) -> int | None:
        parameter = self.parameters.get(name)
        if parameter is None:
            return without if self.parameters else None
        numbers = [value for value in parameter.values if isinstance(value, int | float)]
        most = parameter.max if parameter.max is not None else max(numbers, default=None)
        return int(most) if most is not None else None


class ImagePrice(Record):
    """One line of what an endpoint of the Image API charges: `usd` for each `unit` of what is `billable`.

    `billable` is "output_image", "input_image", "input_text" ..., `unit` "image", "megapixel" or "token"; `variant` is the case
    it holds for, such as a resolution, None for all.
    """

    billable: str = ""
    unit: str = ""
    usd: Number | None = None
    variant: str | None = None

    @classmethod
    def read(cls, document: Any) -> Self:
        """From an entry of the `pricing` of an endpoint of the Image API."""
        said = dict(document) if isinstance(document, dict) else {}
        if "cost_usd" in said:
            said["usd"] = said.pop("cost_usd")
        return super().read(said)
