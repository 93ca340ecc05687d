"""The HTTP servers that bench/http_servers compares: each serves one streamed exposition and /healthz.

Run as a process: `python http_candidates.py NAME`. The main thread imitates the prober: it wakes every millisecond and
records how late. Each line on standard input is answered with a line of JSON: memory, chunks rendered, lateness.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import monlat_ebpf.agent
import monlat_ebpf.cli.main  # as a running agent has it loaded  # noqa: F401
from tests.unit import snapshots

PEERS = 1_000
TICK_SECONDS = 0.001
HEALTH = b"ok\n"
TYPE = "text/plain; version=0.0.4"


class Rendering:
    """The exposition of 1,000 peers, from a snapshot that every scrape shares; counts chunks."""

    def __init__(self) -> None:
        pairs = [replace(snapshots.ANSWERING, to=f"node{number}") for number in range(PEERS)]
        self._snapshot = replace(snapshots.SMALL_CLUSTER, pairs=pairs)
        self._exposition = snapshots.exposition()
        self.chunks = 0

    def __call__(self) -> Iterator[bytes]:
        for piece in self._exposition.render(self._snapshot, map(snapshots.reading, self._snapshot.pairs)):
            self.chunks += 1
            if piece.data:
                yield piece.data


async def chunks_of(render: Callable[[], Iterator[bytes]]) -> AsyncIterator[bytes]:
    """Let other connections have their turn after each chunk: a write that does not block does not yield."""
    for chunk in render():
        yield chunk
        await asyncio.sleep(0)


def in_event_loop(main: Any) -> None:
    threading.Thread(target=lambda: asyncio.run(main), daemon=True).start()


def monlat(listener: socket.socket, render: Callable[[], Iterator[bytes]]) -> None:
    from monlat_ebpf.exposition.http import MetricsServer, Response

    port = listener.getsockname()[1]
    listener.close()  # it opens a socket of its own
    routes = {"/metrics": lambda _: Response(render, TYPE), "/healthz": lambda _: Response(HEALTH)}
    MetricsServer([("127.0.0.1", port)], routes).start()


def standard_asyncio(listener: socket.socket, render: Callable[[], Iterator[bytes]]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.split()[1] != b"/metrics":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(HEALTH), HEALTH))
                    return
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                async for chunk in chunks_of(render):
                    writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
                return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def main() -> None:
        async with await asyncio.start_server(answer, sock=listener) as server:
            await server.serve_forever()

    in_event_loop(main())


def uvicorn(listener: socket.socket, render: Callable[[], Iterator[bytes]]) -> None:
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", TYPE.encode())]}
        await send(start)
        if scope["path"] == "/metrics":
            gone = asyncio.ensure_future(wait_for_disconnect(receive))
            async for chunk in chunks_of(render):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if gone.done():
                    break
            gone.cancel()
        await send({"type": "http.response.body", "body": b"" if scope["path"] == "/metrics" else HEALTH})

    async def wait_for_disconnect(receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    config = uvicorn.Config(
        app, http="h11", loop="asyncio", ws="none", lifespan="off", log_config=None, access_log=False
    )
    in_event_loop(uvicorn.Server(config).serve([listener]))


def aiohttp(listener: socket.socket, render: Callable[[], Iterator[bytes]]) -> None:
    from aiohttp import web

    async def metrics(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": TYPE})
        await response.prepare(request)
        async for chunk in chunks_of(render):
            await response.write(chunk)
        return response

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(body=HEALTH)

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz)])
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await asyncio.Event().wait()

    in_event_loop(main())


def wsgi_app(render: Callable[[], Iterator[bytes]]) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", TYPE)])
        return render() if environ["PATH_INFO"] == "/metrics" else [HEALTH]

    return app


def cheroot(listener: socket.socket, render: Callable[[], Iterator[bytes]]) -> None:
    from cheroot import wsgi

    port = listener.getsockname()[1]
    listener.close()
    server = wsgi.Server(("127.0.0.1", port), wsgi_app(render), numthreads=16, request_queue_size=1024)
    server.prepare()
    threading.Thread(target=server.serve, daemon=True).start()


def waitress(listener: socket.socket, render: Callable[[], Iterator[bytes]]) -> None:
    from waitress import create_server

    # without a higher connection limit it stops to accept at 100
    server = create_server(wsgi_app(render), sockets=[listener], threads=16, connection_limit=1000, backlog=1024)
    threading.Thread(target=server.run, daemon=True).start()


CANDIDATES: dict[str, Callable[[socket.socket, Callable[[], Iterator[bytes]]], None]] = {
    "monlat": monlat,
    "asyncio": standard_asyncio,
    "uvicorn": uvicorn,
    "aiohttp": aiohttp,
    "cheroot": cheroot,
    "waitress": waitress,
}


def status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def main() -> None:
    rendering = Rendering()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    before = status_mib("VmRSS")
    CANDIDATES[sys.argv[1]](listener, rendering)
    late: list[float] = []

    def report() -> None:
        for line in sys.stdin:
            delays = sorted(late) or [0.0]
            late.clear()
            report = {
                "port": port,
                "before": before,
                "rss": status_mib("VmRSS"),
                "peak": status_mib("VmHWM"),
                "chunks": rendering.chunks,
                "processor": time.process_time(),
                "late_p99": delays[len(delays) * 99 // 100],
                "late_max": delays[-1],
            }
            Path("/proc/self/clear_refs").write_text("5")
            print(json.dumps(report | {"asked": line.strip()}), flush=True)

    threading.Thread(target=report, daemon=True).start()
    due = time.monotonic()
    while True:
        due = max(due + TICK_SECONDS, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))
        late.append(time.monotonic() - due)


if __name__ == "__main__":
    main()
