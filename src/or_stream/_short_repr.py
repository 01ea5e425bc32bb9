"""What a repr shows of data: how much there is of it, and never all of it."""

import re
from typing import Any, Final

__all__ = ["ShortRepr", "shorten_data_urls", "shown"]

_DATA_URL: Final = re.compile(r"(data:[^;,\s]{0,100};base64,)[A-Za-z0-9+/=\\]{16,}")


def shorten_data_urls(text: str) -> str:
    """`text` with the data of each data URL cut off."""
    return _DATA_URL.sub(r"\1...", text) if ";base64," in text else text


def shown(value: Any) -> "_Shown":
    """Something whose repr is the short one of `value`."""
    return _Shown(value)


class ShortRepr:
    """For dataclasses with `repr=False`: the repr that they would have, but short."""

    __slots__ = ()

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={shown(getattr(self, name))!r}" for name in self.__dataclass_fields__)  # type: ignore[attr-defined]
        return f"{type(self).__name__}({fields})"


class _Shown:
    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        if isinstance(self._value, bytes) and len(self._value) > 100:
            return f"<{len(self._value):,} bytes>"
        return shorten_data_urls(repr(self._value))
