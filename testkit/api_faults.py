"""Faults of an API server: each function is an Answer for FakeApiServer.answer, or returns one."""

from __future__ import annotations

from testkit.api_exchange import Answer, Exchange, honest

GONE = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'
BROKEN = b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd"}}\n'
HALF_EVENT = b'{"type":"MODIFIED","object":{"metadata":{"name":"one","resourceVersion":"99'


def status(code: int, **headers: str) -> Answer:
    """Answer every request with this HTTP status. The keyword retry_after becomes the header Retry-After."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return lambda exchange: exchange.send_status(code, "requested by the test", named)


def body(text: bytes, encoding: str = "") -> Answer:
    """Answer every request with 200 and these bytes, whose Content-Encoding is `encoding`."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    return lambda exchange: exchange.send_body(text, headers=headers)


def hang(exchange: Exchange) -> None:
    """Read the request and never answer."""
    while not exchange.is_over():
        with exchange.state.changed:
            exchange.state.changed.wait(0.02)
    exchange.close_connection = True


def drop(exchange: Exchange) -> None:
    """Read the request and close the connection."""
    exchange.close_connection = True


def watch_with(answer: Answer) -> Answer:
    """Answer lists honestly, and watches with `answer`."""
    return lambda exchange: answer(exchange) if exchange.watch else honest(exchange)


def silence(exchange: Exchange) -> None:
    """Accept a watch, and send nothing."""
    exchange.begin_stream()
    hang(exchange)


def close_at_once(exchange: Exchange) -> None:
    """Accept a watch, and end it correctly."""
    exchange.begin_stream()
    exchange.end_stream()


def send_and_close(line: bytes) -> Answer:
    """Accept a watch, send `line`, and end it correctly."""

    def answer(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send_chunk(line)
        exchange.end_stream()

    return answer


def send_and_drop(line: bytes) -> Answer:
    """Accept a watch, send `line`, and close the connection without ending the stream."""

    def answer(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send_chunk(line)
        exchange.close_connection = True

    return answer


def endless_pages(exchange: Exchange) -> None:
    """Answer every list with an empty page that has a `continue` token."""
    if exchange.watch:
        honest(exchange)
    else:
        exchange.send_json({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": []})
