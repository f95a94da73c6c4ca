"""
A TCP proxy that misbehaves on request: for what networks and servers do to us.

    proxy = TcpProxy(server.endpoint)        proxy.endpoint is what the client is given

    proxy.refuse()            connections are closed as soon as they are made
    proxy.hang()              connections are made, and nothing ever comes back
    proxy.delay(0.2)          every piece waits that long
    proxy.cut_up(100_000)     the next connection breaks after so many bytes to the server
    proxy.cut_down(100_000)   ... after so many bytes from the server
    proxy.lose_answers(1)     the server gets the request, the client never its answer
    proxy.unavailable(3)      the next three requests are answered 503
    proxy.throttle(1_000_000) bytes a second, both ways together
    proxy.heal()              all is well again

Each change closes the connections that stand, so that it holds for the next
request.  The counted ones wear off; `proxy.faults` counts what was done.  With
*tls* it ends TLS before a server that has none.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import Self
from urllib.parse import urlsplit

PIECE_SIZE = 64 * 1024
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\n"
    b"Connection: close\r\nContent-Length: 78\r\n\r\n"
    b"<Error><Code>ServiceUnavailable</Code><Message>By the proxy.</Message></Error>"
)


class TcpProxy:
    """A proxy in front of one server; see the head of this module."""

    def __init__(self, endpoint: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname and parts.port
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._tls = tls
        scheme = "https" if tls else parts.scheme
        self.endpoint = f"{scheme}://127.0.0.1:{self.port}{parts.path}"
        self.connections = 0
        self.faults = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_closed = threading.Event()
        self._reset()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _reset(self) -> None:
        self._mode = ""
        self._seconds = 0.0
        self._rate = 0.0
        self._rate_next = 0.0
        self._cut_up: int | None = None
        self._cut_down: int | None = None
        self._count = 0

    def refuse(self) -> None:
        self._change(mode="refuse")

    def hang(self) -> None:
        self._change(mode="hang")

    def delay(self, seconds: float) -> None:
        self._change(seconds=seconds)

    def throttle(self, bytes_per_second: float) -> None:
        self._change(rate=bytes_per_second)

    def cut_up(self, after: int, *, times: int = 1) -> None:
        self._change(cut_up=after, count=times)

    def cut_down(self, after: int, *, times: int = 1) -> None:
        self._change(cut_down=after, count=times)

    def lose_answers(self, times: int = 1) -> None:
        self._change(cut_down=0, count=times)

    def unavailable(self, times: int = 1) -> None:
        self._change(mode="503", count=times)

    def heal(self) -> None:
        self._change()

    def _change(self, **state: object) -> None:
        with self._lock:
            self._reset()
            for name, value in state.items():
                setattr(self, f"_{name}", value)
            standing, self._open = self._open, set()
        for each in standing:
            _close(each)

    def close(self) -> None:
        self._is_closed.set()
        # A thread that waits in accept() is woken by a connection, not by close().
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            pass
        self._thread.join()
        self._listener.close()
        self.heal()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            client, _ = self._listener.accept()
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self._tls is not None:
            try:
                client = self._tls.wrap_socket(client, server_side=True)
            except OSError:
                _close(client)
                return
        with self._lock:
            mode, cut_up, cut_down = self._mode, self._cut_up, self._cut_down
            if mode == "503" or cut_up is not None or cut_down is not None:
                if self._count > 0:
                    self._count -= 1
                else:
                    mode, cut_up, cut_down = "", None, None
            if mode or cut_up is not None or cut_down is not None:
                self.faults += 1
            self._open.add(client)
        if mode == "refuse" or self._is_closed.is_set():
            _close(client)
        elif mode == "503":
            self._say_unavailable(client)
        elif mode != "hang":
            self._forward(client, cut_up, cut_down)

    def _say_unavailable(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (piece := client.recv(PIECE_SIZE)):
                head += piece
            client.sendall(_UNAVAILABLE)
            client.shutdown(socket.SHUT_WR)
            while client.recv(PIECE_SIZE):
                pass  # else the answer is lost in a reset
        _close(client)

    def _forward(self, client: socket.socket, cut_up: int | None, cut_down: int | None) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            _close(client)
            return
        with self._lock:
            self._open.add(server)
        down = threading.Thread(
            target=self._pump, args=(server, client, cut_down, "bytes_down"), daemon=True
        )
        down.start()
        self._pump(client, server, cut_up, "bytes_up")
        down.join()
        for each in (client, server):
            _close(each)
        with self._lock:
            self._open -= {client, server}

    def _pump(
        self, source: socket.socket, sink: socket.socket, cut: int | None, counter: str
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_SIZE):
                if self._seconds:
                    time.sleep(self._seconds)
                self._pace(len(piece))
                if cut is not None and passed + len(piece) > cut:
                    sink.sendall(piece[: cut - passed])
                    for each in (source, sink):
                        _close(each)
                    return
                sink.sendall(piece)
                passed += len(piece)
                with self._lock:
                    setattr(self, counter, getattr(self, counter) + len(piece))
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _pace(self, size: int) -> None:
        """Wait for this piece's turn at the throttled rate."""
        with self._lock:
            if not self._rate:
                return
            now = time.monotonic()
            begin = max(now, self._rate_next)
            self._rate_next = begin + size / self._rate
            wait = begin - now
        time.sleep(wait)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
