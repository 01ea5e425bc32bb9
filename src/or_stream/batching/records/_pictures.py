"""Where pictures go: into a hidden folder while they arrive, then under the name of their key, whole or not at all."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from or_stream.batching.records._item import file_stem
from or_stream.errors import ConfigurationError, ImageNotSaved
from or_stream.values import Image, Message

__all__ = ["PictureFolder"]


class PictureFolder:
    """`folder`, and a hidden one in it for what is not whole yet.

    The hidden one is the journal's, whose lock says that what is in it was left behind; without a journal it is this run's.
    """

    def __init__(self, folder: str | os.PathLike[str], journal: Path | None) -> None:
        self.folder: Path = Path(folder)
        owner = secrets.token_hex(6) if journal is None else hashlib.sha256(os.fsencode(journal.resolve())).hexdigest()[:12]
        self.unfinished: Path = self.folder / f".unfinished-{owner}"
        self.close()
        try:
            self.unfinished.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"save_to={str(folder)!r} cannot be made a folder: {error}") from error

    def keep(self, message: Message, key: str, *, failed: bool = False) -> Message:
        """Give the pictures their names. Raises ImageNotSaved where the disk does not take that."""
        stem = file_stem(key) + ("~failed" if failed else "")  # no stem of a key has a tilde
        index = 0
        for owner in _messages(message):
            for position, image in enumerate(owner.images):
                if image.path is not None:
                    owner.images[position] = self._named(image, f"{stem}-{index}")
                index += 1
        return message

    def discard(self, message: Message) -> None:
        """Remove the pictures of an answer that is asked for again."""
        for owner in _messages(message):
            for image in owner.images:
                if image.path is not None and image.path.parent == self.unfinished:
                    with suppress(OSError):
                        image.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove what is not whole."""
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def _named(self, image: Image, name: str) -> Image:
        assert image.path is not None
        target = self.folder / f"{name}{image.suffix}"
        try:
            image.path.replace(target)
        except OSError as error:
            raise ImageNotSaved(f"cannot write {str(target)!r}: {error.strerror or error}") from error
        return image.model_copy(update={"path": target})


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for alternative in message.alternatives:
        yield from _messages(alternative)
