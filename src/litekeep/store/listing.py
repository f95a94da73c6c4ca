"""
What a server lists, made into what a list of a store is: rule 8, whatever comes.

    pages of keys --> in order, each once --> below the store, wanted, no folders

S3 itself and the clouds list in the order of bytes, so theirs go through as they
come, and a key that does not ascend is refused: a page that is sent again and again
would never end.  Other servers list folder by folder, where "a/x" comes before
"a-b/x"; theirs are collected first, `LISTED_COUNT_MAX` of them at most, some 500
bytes each.

Programs that show buckets as trees put empty objects whose keys end in a slash.
obstore takes that slash away; so an empty object is looked at once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace as changed

from litekeep.errors import StoreError
from litekeep.store.base import Blob, is_name, is_passed_over
from litekeep.store.translate import OddKey

LISTED_COUNT_MAX = 5_000_000
#: So many keys may come twice: a list can be begun again where another road goes on.
REPEATED_COUNT_MAX = 10_000

Pages = Iterable[Sequence[Blob]]


def ascending(pages: Pages, url: str) -> Iterator[Blob]:
    """
    Yield what *pages* hold.

    Raises:
        StoreError: A key is not behind the one before.
    """
    last = ""
    for page in pages:
        before = last
        for blob in page:
            if blob.name > last:
                last = blob.name
            elif blob.size > 0:  # an empty one may be a folder, which had a slash more
                raise _endless(url)
            yield blob
        if page and last == before:
            raise _endless(url)


def collected(pages: Pages, url: str) -> Iterator[Blob]:
    """
    Yield what *pages* hold, in order, each once.

    Raises:
        StoreError: There are too many, or always the same.
    """
    found: dict[str, Blob] = {}
    count = 0
    for page in pages:
        count += len(page)
        found |= {blob.name: blob for blob in page}
        if count > 2 * len(found) + REPEATED_COUNT_MAX:
            raise _endless(url)
        if len(found) > LISTED_COUNT_MAX:
            raise StoreError(
                f"{url} holds more than {LISTED_COUNT_MAX} objects",
                hint="Use a prefix for Litekeep alone.",
            )
    # Code points sort as their UTF-8 bytes do.
    yield from sorted(found.values(), key=lambda blob: blob.name)


def walk(
    look: Callable[[str], tuple[Sequence[Blob], Sequence[str]]],
    folder: str,
    root: str,
    prefix: str,
    start: str,
) -> Pages:
    """
    Yield the keys below *folder* behind *start*, one folder after the other, in order.

    A folder that holds a key which is none to obstore is passed over, as far as
    `is_passed_over` says.

    Args:
        look: Returns the objects in a folder, and the folders in it.

        root, prefix: See `wanted`.
    """
    try:
        blobs, folders = look(folder)
    except OddKey:
        if is_passed_over(f"{folder}/".removeprefix(root), prefix):
            return
        raise
    found: dict[str, Blob | None] = {f"{below}/": None for below in folders}
    found |= {blob.name: blob for blob in blobs}
    for key, blob in sorted(found.items()):
        if blob is not None:
            if key > start:
                yield [blob]
        elif (key > start or start.startswith(key)) and (
            key.startswith(root + prefix) or (root + prefix).startswith(key)
        ):
            yield from walk(look, key.rstrip("/"), root, prefix, start)


def wanted(
    found: Iterable[Blob],
    root: str,
    prefix: str,
    start_after: str,
    is_folder: Callable[[str], bool],
) -> Iterator[Blob]:
    """
    Yield the blobs of a store out of *found*, which is in order.

    Args:
        root: What every key of the store begins with.

        prefix, start_after: See rule 8.

        is_folder: Tells of an empty object whether it is only there for its name.
    """
    last = start_after
    for blob in found:
        name = blob.name.removeprefix(root)
        if not blob.name.startswith(root) or not is_name(name):
            continue
        if name.startswith(prefix):
            if name > last and (blob.size > 0 or not is_folder(name)):
                yield changed(blob, name=name)
                last = name
        elif name > prefix:
            return  # past the last one


def _endless(url: str) -> StoreError:
    return StoreError(
        f"{url} lists the same objects again and again, or in no order",
        hint="Its server does not list as S3 does: use another, or a folder.",
    )
