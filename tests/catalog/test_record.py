"""Reading one object: what is not as it should be is kept aside, and costs nothing else."""

import math
from typing import ClassVar

import pytest
from pydantic import Field, ValidationError

from or_stream.catalog._record import Count, Number, Record, Strings


class Thing(Record):
    not_on_the_wire: ClassVar[frozenset[str]] = frozenset({"extra", "ours"})

    name: str = ""
    price: Number | None = None
    size: Count | None = None
    tags: Strings = ()
    inner: "Thing | None" = None
    ours: str = Field(default="mine")


def test_fields():
    """What is of its type is in its field, numbers in strings too."""
    thing = Thing.read({"name": "a", "price": "0.5", "size": 3.0, "tags": ["x", "y"]})
    assert ("a", 0.5, 3, ("x", "y"), {}) == (thing.name, thing.price, thing.size, thing.tags, thing.extra)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("name", 5),
        ("name", ["a"]),
        ("price", True),
        ("price", "cheap"),
        ("price", math.inf),
        ("price", "nan"),
        ("price", 10**400),
        ("size", -1),
        ("size", 1.5),
        ("size", {}),
        ("tags", "x"),
        ("inner", 7),
    ],
)
def test_wrong_type(name, wrong):
    """A field of the wrong type is as if it were missing, its value is in `extra`, and the other fields are there."""
    said = {"name": "a", "price": 1, "size": 2, "tags": ["x"], name: wrong}
    thing, blank = Thing.read(said), Thing()
    assert repr({name: wrong}) == repr(thing.extra)
    assert getattr(blank, name) == getattr(thing, name)
    assert all(getattr(thing, other) for other in {"name", "price", "size", "tags"} - {name})


def test_null_is_missing():
    """Null leaves no trace."""
    assert Thing() == Thing.read({"name": None, "price": None, "unknown": None})


def test_unknown_is_kept():
    """What has no field here is in `extra`, also what is called like a field that is filled in here."""
    said = {"new": [1, {"a": None}], "extra": "x", "ours": "theirs"}
    assert said == Thing.read(said).extra
    assert "mine" == Thing.read(said).ours


def test_strings_among_others():
    """A list with a stranger in it keeps the rest."""
    assert ("x", "y") == Thing.read({"tags": ["x", 5, None, "y"]}).tags


@pytest.mark.parametrize("document", [None, 5, "x", [], [{"name": "a"}], True])
def test_no_object(document):
    """What is no object is one without fields."""
    assert Thing() == Thing.read(document)


def test_frozen():
    """A value that many hold cannot be changed by one."""
    with pytest.raises(ValidationError):
        Thing().name = "b"


def test_repr_without_the_unsaid():
    """A repr shows what was said."""
    assert "Thing(name='a', size=0, ours='mine')" == repr(Thing(name="a", size=0))
