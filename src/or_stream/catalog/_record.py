"""How a JSON object becomes a value when any part of it may be missing, new, null or of another type."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation, ValidationError

__all__ = ["Count", "Number", "Record", "Strings"]


# Building the validators at first use keeps importing this cheap.
_CONFIG = ConfigDict(defer_build=True, frozen=True)


class Record(BaseModel):
    """What one object of the service says. `extra` holds what has no field here, and what is not of its field's type."""

    model_config = _CONFIG

    not_on_the_wire: ClassVar[frozenset[str]] = frozenset({"extra"})
    """Fields that are filled in here, so that one of the same name in an answer is something else."""

    extra: Annotated[dict[str, Any], SkipValidation] = Field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, document: Any) -> Self:
        """From JSON. Never raises: what is no object is one without fields."""
        said = {name: value for name, value in document.items() if value is not None} if isinstance(document, Mapping) else {}
        known = {name: said.pop(name) for name in cls.model_fields if name in said and name not in cls.not_on_the_wire}
        try:
            return cls(**known, extra=said)
        except ValidationError as error:
            for name in {str(fault["loc"][0]) for fault in error.errors(include_url=False, include_context=False)}:
                said[name] = known.pop(name)
        return cls(**known, extra=said)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, value) for name, value in super().__repr_args__() if value not in (None, (), ""))


def _finite(value: Any) -> float:
    """A number, also one in a string, as prices are. A bool is none, though Python says so."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a number")  # noqa: TRY004  # pydantic makes a ValidationError of a ValueError
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _count(value: Any) -> int:
    number = _finite(value)
    if number < 0 or not number.is_integer():
        raise ValueError("not a count")
    return int(value) if isinstance(value, int) else int(number)


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("not a list")  # noqa: TRY004  # as above
    return tuple(item for item in value if isinstance(item, str))


Number = Annotated[float, BeforeValidator(_finite)]
Count = Annotated[int, BeforeValidator(_count)]
Strings = Annotated[tuple[str, ...], BeforeValidator(_strings)]
