"""
A store that could not be opened: a secret is missing, a setting means nothing.

It stands in its place among the others and says why whenever it is asked, so that it fails
alone, as one that does not answer does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from litekeep.errors import LitekeepError
from litekeep.store.base import Blob, Body, Store

_USER = re.compile(r"(?<=://)[^/?#]*@")


class UnopenedStore(Store):
    """
    The store at *url*, which *error* kept from being opened.

    The error is what every method raises, whichever kind it is: rule 14 holds for
    stores that are open.
    """

    def __init__(self, url: str, error: LitekeepError) -> None:
        self.url = url_without_secrets(url)
        self.error = error

    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        self._fail()

    def replace(
        self,
        name: str,
        body: bytes,
        *,
        version: str,
        metadata: Mapping[str, str] | None = None,
    ) -> Blob:
        self._fail()

    def get(
        self, name: str, *, offset: int = 0, size: int | None = None, version: str | None = None
    ) -> Iterator[bytes]:
        self._fail()

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        self._fail()

    def head(self, name: str) -> Blob:
        self._fail()

    def delete(self, name: str) -> None:
        self._fail()

    def copy(self, source: str, target: str) -> None:
        self._fail()

    def take(self, path: Path, name: str, *, metadata: Mapping[str, str] | None = None) -> Blob:
        self._fail()

    def clean(self, unfinished: Iterable[str] = ()) -> Sequence[str]:
        self._fail()

    def _fail(self) -> NoReturn:
        raise self.error


def url_without_secrets(url: str) -> str:
    """
    Return a URL that may be printed, of a store that may have been given any.

    >>> url_without_secrets("s3://me:secret@bucket/app?key=other")
    's3://bucket/app'
    """
    if "://" not in url:
        return url
    return re.split("[?#]", _USER.sub("", url))[0]
