"""How the collector asks: what it reads again, and whom it does not keep waiting."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest

from monlat_ebpf.collector.asking import BODIES, Asker
from monlat_ebpf.collector.config import CollectorConfig
from monlat_ebpf.collector.fetch import LARGEST_ANSWER, AskError, Failure
from monlat_ebpf.collector.slots import Slots
from monlat_ebpf.collector.store import Store
from monlat_ebpf.collector.windows import Windows
from monlat_ebpf.exposition.client_access import ClientAccess
from monlat_ebpf.model import Peer
from testkit.fake_agents import FakeAgents, honest, sending
from tests.unit.fake_agent import answer, pair, probe

NAMES = [f"node{number}" for number in range(1, BODIES + 3)]


@pytest.fixture
def agents() -> Iterator[FakeAgents]:
    with FakeAgents(NAMES) as made:
        pairs = {name: [pair("node2", **{"from": name, "probes": [probe(1)]})] for name in NAMES}
        made.behaviours.update({name: honest(answer(*pairs[name], node=name)) for name in NAMES})
        yield made


def asking(
    agents: FakeAgents, use: Callable[[Asker], Awaitable[None]], access: ClientAccess, timeout: float = 20.0
) -> None:
    """Run `use` with an Asker of `agents`."""
    config = CollectorConfig(
        peers_file=Path("unused"),
        agent_port=agents.port,
        access=access,
        interval_seconds=600.0,
        timeout_seconds=timeout,
    )
    store = Store(stale_after_seconds=60.0, history_bytes=1024)
    slots = Slots(config.interval_seconds)

    async def run() -> None:
        with ThreadPoolExecutor(1) as parser:
            await use(Asker(config, store, Windows(slots), slots, parser, lambda failure, seconds: None))

    asyncio.run(run())


def peer(agents: FakeAgents, name: str, *others: str) -> Peer:
    return Peer(name, tuple(map(ip_address, (*others, agents.address(name)))))


def test_password_is_read_again_and_a_bad_file_changes_nothing(agents: FakeAgents, tmp_path: Path) -> None:
    """The headers are base64 of a:1 and of b:2."""
    file = tmp_path / "user"
    file.write_text("a:1\n")

    async def use(asker: Asker) -> None:
        node = peer(agents, "node1")
        for content, expected in (("a:1", b"YTox"), ("b:2", b"Yjoy"), ("nonsense", b"Yjoy")):
            file.write_text(content)
            asker.read_access_again()
            await asker.ask_detail(node, "node2")
            assert b"Authorization: Basic " + expected in agents.heads["node1"]

    asking(agents, use, ClientAccess(user_file=file))


def test_second_address_is_asked_when_the_first_refuses(agents: FakeAgents) -> None:
    """As with a node whose IPv4 address is not reachable."""

    async def use(asker: Asker) -> None:
        assert (await asker.ask_detail(peer(agents, "node1", "127.0.3.1"), "node2"))["source"] == "tracepoint"

    asking(agents, use, ClientAccess())


def test_agents_that_hang_before_their_answer_keep_nobody_waiting(agents: FakeAgents) -> None:
    """More of them hang than bodies may be read at once; the last one answers while they hang."""
    *hanging, last = NAMES
    agents.behaviours.update(dict.fromkeys(hanging, agents.hang))

    async def use(asker: Asker) -> None:
        tasks = [asyncio.create_task(asker.ask_detail(peer(agents, name), "node2")) for name in hanging]
        assert (await asker.ask_detail(peer(agents, last), "node2"))["families"]
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()

    asking(agents, use, ClientAccess())


def test_detail_about_another_peer_is_not_taken(agents: FakeAgents) -> None:
    """The agent measures node2 alone: nothing is known of node3."""

    async def use(asker: Asker) -> None:
        assert (await asker.ask_detail(peer(agents, "node1"), "node3"))["families"] == []

    asking(agents, use, ClientAccess())


def test_decompression_stops_at_the_limit(agents: FakeAgents) -> None:
    """256 MiB of spaces are 255 KiB compressed. At most the limit, and a copy of it, are ever in memory."""
    bomb = gzip.compress(b" " * (256 << 20))
    agents.behaviours["node1"] = sending(bomb, headers=b"Content-Encoding: gzip\r\n")

    async def use(asker: Asker) -> None:
        tracemalloc.start()
        try:
            with pytest.raises(AskError) as caught:
                await asker.ask_detail(peer(agents, "node1"), "node2")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert caught.value.failure is Failure.TOO_LONG
        assert peak < 3 * LARGEST_ANSWER

    asking(agents, use, ClientAccess())


def test_time_limit_counts_each_part_of_an_answer(agents: FakeAgents) -> None:
    """A head that comes byte by byte and a body that does not come are both a timeout."""

    async def use(asker: Asker) -> None:
        for behaviour in (agents.drip, agents.hang_within):
            agents.behaviours["node1"] = behaviour
            with pytest.raises(AskError) as caught:
                await asker.ask_detail(peer(agents, "node1"), "node2")
            assert caught.value.failure is Failure.TIMEOUT

    asking(agents, use, ClientAccess(), timeout=0.2)


def test_agent_that_failed_once_is_asked_again_before_the_interval(agents: FakeAgents) -> None:
    """The interval is ten minutes."""
    agents.behaviours["node1"] = sending(b"no")

    async def use(asker: Asker) -> None:
        task = asyncio.create_task(asker.follow(peer(agents, "node1")))
        async with asyncio.timeout(60):
            while agents.requests["node1"] < 2:
                await asyncio.sleep(0.01)
        task.cancel()

    asking(agents, use, ClientAccess())
