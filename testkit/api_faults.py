"""What an API server can do wrong: each function is an Answer for FakeApiServer.answer, or makes one."""

from __future__ import annotations

from testkit.fake_apiserver import Answer, Exchange, honest

GONE = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'
BROKEN = b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd"}}\n'
HALF_EVENT = b'{"type":"MODIFIED","object":{"metadata":{"name":"one","resourceVersion":"99'


def status(code: int, **headers: str) -> Answer:
    """Answer all with this HTTP status; retry_after becomes Retry-After."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return lambda exchange: exchange.send_status(code, "as the test wants it", named)


def body(text: bytes) -> Answer:
    """Answer all with 200 and this text."""
    return lambda exchange: exchange.send_body(text)


def hang(exchange: Exchange) -> None:
    """Read the request and answer nothing."""
    while not exchange.is_over():
        with exchange.state.changed:
            exchange.state.changed.wait(0.02)
    exchange.close_connection = True


def drop(exchange: Exchange) -> None:
    """Read the request and close the connection."""
    exchange.close_connection = True


def watch_with(answer: Answer) -> Answer:
    """Be honest about lists, and answer watches with `answer`."""
    return lambda exchange: answer(exchange) if exchange.watch else honest(exchange)


def silence(exchange: Exchange) -> None:
    """Agree to a watch, and say nothing more."""
    exchange.begin_stream()
    hang(exchange)


def close_at_once(exchange: Exchange) -> None:
    """Agree to a watch, and end it in good order."""
    exchange.begin_stream()
    exchange.end_stream()


def say_and_close(line: bytes) -> Answer:
    """Agree to a watch, send `line`, and end it in good order."""

    def answer(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send_chunk(line)
        exchange.end_stream()

    return answer


def break_off(line: bytes) -> Answer:
    """Agree to a watch, send `line`, and drop the connection within the stream."""

    def answer(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send_chunk(line)
        exchange.close_connection = True

    return answer


def endless_pages(exchange: Exchange) -> None:
    """Answer each list with an empty page and a promise of more."""
    if exchange.watch:
        honest(exchange)
    else:
        exchange.send_json({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": []})
