"""
An engine's events as plain lines of text.
"""

from __future__ import annotations

from litekeep.engine import events


def plain_lines(event: events.Event) -> tuple[str, ...]:
    """
    Return the lines for an event; the first six kinds are the guide's, to the letter.

    >>> plain_lines(events.Compressed(123456))
    ('Compressed size: 123456 bytes',)
    """
    match event:
        case events.Integrity(result, detail):
            return (f"Integrity: {result}", *((f"Integrity detail: {detail}",) if detail else ()))
        case events.Compressed(size):
            return (f"Compressed size: {size} bytes",)
        case events.Stored(place, is_local):
            return (f"Local saved: {place}" if is_local else f"Uploaded to {place}",)
        case events.LatestMoved():
            return ("Updated latest marker",)
        case events.StoreFailed(store, message, hint):
            return (f"Failed: {store}: {message}", *((f"Hint: {hint}",) if hint else ()))
        case events.Note(text):
            return (f"Note: {text}",)
        case events.Warned(message, hint):
            return (f"Warning: {message}", *((f"Hint: {hint}",) if hint else ()))
        case events.ServiceStopped(service):
            return (f"Stopped {service}",)
        case events.ServiceStarted(service):
            return (f"Started {service}",)
        case events.CheckedInPlace(where, result, detail):
            return (f"integrity_check {where}: {result}" + (f" ({detail})" if detail else ""),)
        case events.Progress():
            return ()
