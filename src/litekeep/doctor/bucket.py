"""
Checks of a bucket of S3: what stands between backups and a mistake, a thief, a bill.

    versioning      what is removed or overwritten can be brought back
    encryption      the server encrypts what it keeps
    public-access   nobody but those with rights sees it
    upload-rule     uploads that a kill left open go by themselves
    open-uploads    none are there now

Who may only put and get, as backups need, may not ask all this: then it is said which right
the question takes.  Other servers than AWS do not know every question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from urllib.parse import unquote, urlsplit

from litekeep.aws.bucket import RIGHTS, BucketSetup
from litekeep.aws.credentials import Access, Refused, has_boto3
from litekeep.aws.uploads import open_uploads
from litekeep.clock import Clock, now
from litekeep.config.settings import StoreSettings
from litekeep.doctor.findings import Finding, guarded, ok, unknown, warn
from litekeep.errors import LitekeepError, StoreError

NAMES = ("versioning", "encryption", "public-access", "upload-rule", "open-uploads")
UPLOADS_RIGHT = "s3:ListBucketMultipartUploads"

#: Younger ones are those of a backup at work.
UPLOAD_AGE_MAX = timedelta(days=1)

_UPLOADS_MAX = 10_000
_AMAZON = ".amazonaws.com"
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "UnauthorizedAccess"})
_UNKNOWN_STATUS = (404, 405, 501)

Check = Callable[[BucketSetup], Iterator[Finding]]


def bucket_findings(
    store: StoreSettings,
    bucket: str,
    access: Access | None,
    *,
    names: Sequence[str] = NAMES,
    about: str,
    clock: Clock = now,
) -> tuple[Finding, ...]:
    """
    Check the bucket of a store.

    Args:
        store: As it is configured.

        bucket: Its name.

        access: How boto3 reaches it.

        names: The checks to make.

        about: What to call it.

        clock: What ages of uploads count to.
    """
    if access is None or store.anonymous:
        hint = "Ask with an identity that may look at the bucket."
        return tuple(unknown(name, about, "no identity to ask with", hint) for name in names)
    if not has_boto3():
        hint = "Install it with the pip of Litekeep's environment: pip install boto3."
        reason = "it needs litekeep[aws] (boto3)"
        return tuple(unknown(name, about, reason, hint) for name in names)
    folder = unquote(urlsplit(store.url).path).strip("/")
    prefix = f"{folder}/" if folder else ""
    try:
        setup = BucketSetup(access, bucket)
    except LitekeepError as error:
        return tuple(unknown(name, about, error.message, error.hint or "") for name in names)

    def uploads() -> Iterator[Finding]:
        return _open_uploads(access, bucket, prefix, about, clock())

    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "versioning": lambda: _versioning(setup, about),
        "encryption": lambda: _encryption(setup, about, store.encryption),
        "public-access": lambda: _public_access(setup, about, is_amazon=_is_amazon(access)),
        "upload-rule": lambda: _upload_rule(setup, about, prefix),
        "open-uploads": uploads,
    }
    return tuple(finding for name in names for finding in guarded([name], about, checks[name]))


def _versioning(setup: BucketSetup, about: str) -> Iterator[Finding]:
    try:
        status = setup.versioning()
    except StoreError as error:
        yield _not_told("versioning", about, error, RIGHTS["versioning"])
        return
    if status == "Enabled":
        yield ok("versioning", about, "on: what is removed or overwritten can be brought back")
        return
    yield warn(
        "versioning",
        about,
        f"{'suspended' if status else 'off'}: who may write there can destroy every backup",
        "Turn it on: aws s3api put-bucket-versioning --versioning-configuration Status=Enabled.",
    )


def _encryption(setup: BucketSetup, about: str, asked_for: str | None) -> Iterator[Finding]:
    if asked_for is not None:
        yield ok("encryption", about, f"{asked_for}, asked for with each object")
        return
    try:
        found = setup.encryption()
    except StoreError as error:
        yield _not_told("encryption", about, error, RIGHTS["encryption"])
        return
    if found:
        yield ok("encryption", about, f"{', '.join(found)}, the bucket's default")
        return
    hint = 'Give the bucket a default encryption, or the store encryption = "AES256".'
    yield warn("encryption", about, "the bucket has no default encryption", hint)


def _public_access(setup: BucketSetup, about: str, *, is_amazon: bool) -> Iterator[Finding]:
    """Whatever says that it is public counts; that it is not takes all the answers."""
    name, refused, off = "public-access", [], None
    try:
        off = setup.public_block()
        if off == ():
            yield ok(name, about, "blocked as a whole")
            return
    except StoreError as error:
        refused.append(_not_told(name, about, error, RIGHTS["public_block"]))
    public = []
    questions: tuple[tuple[str, Callable[[], object], str], ...] = (
        ("is_policy_public", setup.is_policy_public, "its policy"),
        ("public_grants", setup.public_grants, "its access list"),
    )
    for question, ask, said in questions:
        try:
            if ask():
                public.append(said)
        except StoreError as error:
            refused.append(_not_told(name, about, error, RIGHTS[question]))
    if public:
        raise StoreError(
            f"the bucket is public by {' and '.join(public)}",
            hint="Block public access: aws s3api put-public-access-block.",
        )
    if refused:
        yield refused[0]
    elif is_amazon:
        which = ", ".join(off) if off else "all of it"
        hint = "Turn all four parts on: aws s3api put-public-access-block."
        yield warn(name, about, f"not public, and public access is not blocked ({which})", hint)
    else:
        yield ok(name, about, "not public, by its policy and its access list")


def _upload_rule(setup: BucketSetup, about: str, prefix: str) -> Iterator[Finding]:
    try:
        rules = setup.abort_rules()
    except StoreError as error:
        yield _not_told("upload-rule", about, error, RIGHTS["abort_rules"])
        return
    fitting = [rule for rule in rules if prefix.startswith(rule.prefix)]
    if fitting:
        days = min((rule.days for rule in fitting if rule.days is not None), default=None)
        yield ok("upload-rule", about, f"open uploads go after {days or 'some'} days")
        return
    yield warn(
        "upload-rule",
        about,
        "no lifecycle rule aborts uploads that a kill left open: they cost storage, unseen",
        "Give the bucket a rule AbortIncompleteMultipartUpload, of seven days for instance.",
    )


def _open_uploads(
    access: Access, bucket: str, prefix: str, about: str, time: datetime
) -> Iterator[Finding]:
    try:
        found = list(islice(open_uploads(access, bucket, prefix), _UPLOADS_MAX))
    except StoreError as error:
        yield _not_told("open-uploads", about, error, UPLOADS_RIGHT)
        return
    old = [upload for upload in found if time - upload.begun > UPLOAD_AGE_MAX]
    if old:
        hint = "litekeep backup removes its own; others: aws s3api abort-multipart-upload."
        shown = f"{len(old)} uploads were left open for more than a day, {old[0].key} for one"
        yield warn("open-uploads", about, shown, hint)
    else:
        yield ok("open-uploads", about, f"{len(found)} open, none old" if found else "none")


def _not_told(name: str, about: str, error: StoreError, right: str) -> Finding:
    if isinstance(error, Refused):
        if error.code in _DENIED or error.status == 403:
            hint = f"To have it checked, allow {right}, or look as an administrator."
            return unknown(name, about, f"the identity may not ask ({right})", hint)
        if error.status in _UNKNOWN_STATUS:
            hint = "Look at the server's own settings."
            return unknown(name, about, f"the server does not tell ({error.code})", hint)
    return unknown(name, about, error.message, error.hint or f"It takes the right {right}.")


def _is_amazon(access: Access) -> bool:
    return access.endpoint is None or _AMAZON in access.endpoint
