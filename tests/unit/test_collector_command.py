"""`monlat collect` as a process, and agents that misbehave: each costs its own row, and nothing else."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monlat_ebpf.collector.fetch import LARGEST_ANSWER
from testkit.fake_agents import Behaviour, FakeAgents, compressed, ending, endless, honest, sending
from testkit.running_collector import RunningCollector, running_collector
from testkit.waiting import wait_until
from tests.unit.collector_agents import FAST, NODES, collecting, of_node
from tests.unit.fake_agent import answer, pair, probe

BAD = "node3"


@pytest.fixture
def agents() -> Iterator[FakeAgents]:
    with FakeAgents(NODES) as made:
        made.behaviours.update({name: of_node(name) for name in NODES})
        yield made


LIAR = honest(answer(*(pair(to, **{"from": "node4"}) for to in ("node1", "node2")), node="node4"))
BOMB = gzip.compress(b"[" + b" " * (64 << 20) + b"]")
CUT = gzip.compress(json.dumps(answer(node=BAD)).encode())[:-8]  # without its checksum and length
NAN = json.dumps(answer(pair("node1", **{"from": BAD, "peer_dwell_seconds": float("nan")}), node=BAD)).encode()


@pytest.mark.parametrize(
    ("misbehave", "failure"),
    [
        pytest.param(lambda agents: agents.hang, "timeout", id="hang"),
        pytest.param(lambda agents: agents.hang_within, "timeout", id="hang-within"),
        pytest.param(lambda agents: agents.drip, "timeout", id="drip"),
        pytest.param(lambda agents: endless, "too_long", id="endless"),
        pytest.param(
            lambda agents: sending(b"", headers=b"", status=b"200 OK\r\nContent-Length: 1000000000"),
            "http",
            id="two-lengths",
        ),
        pytest.param(lambda agents: compressed(b" " * (LARGEST_ANSWER + 1)), "too_long", id="long-when-decompressed"),
        pytest.param(
            lambda agents: sending(BOMB, headers=b"Content-Encoding: gzip\r\n"), "too_long", id="compressed-bomb"
        ),
        pytest.param(
            lambda agents: sending(b"nonsense", headers=b"Content-Encoding: gzip\r\n"), "http", id="not-compressed"
        ),
        pytest.param(
            lambda agents: sending(CUT, headers=b"Content-Encoding: gzip\r\n"), "http", id="compressed-without-an-end"
        ),
        pytest.param(lambda agents: ending, "http", id="ends-within"),
        pytest.param(lambda agents: sending(b"no", status=b"500 Failed"), "http", id="status-500"),
        pytest.param(lambda agents: lambda connection, target: None, "http", id="no-answer"),
        pytest.param(
            lambda agents: lambda connection, target: connection.sendall(b"SSH-2.0\r\n"), "http", id="not-http"
        ),
        pytest.param(lambda agents: sending(b"{"), "invalid", id="not-json"),
        pytest.param(lambda agents: sending(b"[" * 1_000_000), "invalid", id="deep"),
        pytest.param(lambda agents: sending(NAN), "invalid", id="nan"),
        pytest.param(lambda agents: LIAR, "wrong_node", id="liar"),
    ],
)
def test_bad_agent_costs_its_own_row_alone(
    agents: FakeAgents, tmp_path: Path, misbehave: Callable[[FakeAgents], Behaviour], failure: str
) -> None:
    """It is named with the reason; the others are measured and asked again while it misbehaves."""
    agents.behaviours[BAD] = misbehave(agents)
    with running_collector(tmp_path, *collecting(agents, tmp_path)) as collector:
        wait_until(lambda: collector.node(BAD)["failure"] == failure, f"{collector.node(BAD)}")
        before = agents.requests.copy()
        wait_until(lambda: all(agents.requests[name] >= before[name] + 2 for name in NODES))
        wait_until(lambda: collector.matrix()["states"] == ["-mmm", "m-mm", "ss-s", "mmm-"])
        assert collector.matrix()["values_seconds"] == [[43.1e-6] * 3, [43.1e-6] * 3, [], [43.1e-6] * 3]
        metrics = collector.get("/metrics").decode()
        assert f'monlat_collector_ask_failures_total{{reason="{failure}"}} 0.0' not in metrics
        assert metrics.count("\nlatency_between_nodes{") == 9
        assert f'from="{BAD}"' not in metrics
        assert "monlat_collector_agents 4.0" in metrics
        assert "monlat_collector_agents_answering 3.0" in metrics
        assert "Traceback" not in collector.log


def test_one_killed_one_hanging_one_slow_and_one_lying_keep_nobody_waiting(tmp_path: Path) -> None:
    """Four more are honest: 3 s after the collector listens, /metrics has all that they measure of each other.

    With the settings that a user has. node5's agent is not there, and the pairs to the other three are measured, too.
    """
    honest_ones, bad = [f"node{number}" for number in range(1, 5)], ("node6", "node7", "node8")
    names = [*honest_ones, *bad]
    with FakeAgents(names) as agents:
        for name in honest_ones:
            others = (to for to in (*names, "node5") if to != name)
            agents.behaviours[name] = honest(answer(*(pair(to, **{"from": name}) for to in others), node=name))
        agents.behaviours.update(zip(bad, (agents.hang, agents.drip, LIAR), strict=True))
        peers = agents.write_peers(tmp_path / "peers.yml")
        peers.write_text(f"{peers.read_text()}- {{name: node5, addresses: [127.0.3.1]}}\n")
        with running_collector(tmp_path, "--peers", str(peers), "--agent-port", str(agents.port)) as collector:

            def measured() -> set[str]:
                lines = collector.get("/metrics").decode().splitlines()
                return {line.split(" ")[0] for line in lines if line.startswith("latency_between_nodes{")}

            expected = {
                f'latency_between_nodes{{from="{name}",to="{to}"}}'
                for name in honest_ones
                for to in (*names, "node5")
                if to != name
            }
            wait_until(lambda: measured() == expected, seconds=3)


def test_agent_that_recovers_is_measured_again(agents: FakeAgents, tmp_path: Path) -> None:
    """Its row comes back with its next answer."""
    agents.behaviours[BAD] = agents.hang
    with running_collector(tmp_path, *collecting(agents, tmp_path)) as collector:
        wait_until(lambda: collector.matrix()["states"] == ["-mmm", "m-mm", "ss-s", "mmm-"])
        agents.behaviours[BAD] = of_node(BAD)
        wait_until(lambda: collector.matrix()["states"] == ["-mmm", "m-mm", "mm-m", "mmm-"])


def test_agent_without_a_listener_is_unreachable_and_ready_does_not_wait_for_it(
    agents: FakeAgents, tmp_path: Path
) -> None:
    """127.0.3.1 refuses. /readyz passes once all have been asked."""
    peers = agents.write_peers(tmp_path / "peers.yml")
    peers.write_text(f"{peers.read_text()}- {{name: node5, addresses: [127.0.3.1]}}\n")
    arguments = ("--peers", str(peers), "--agent-port", str(agents.port), *FAST)
    with running_collector(tmp_path, *arguments) as collector:
        wait_until(lambda: status_of(collector, "/readyz") == 200)
        assert collector.node("node5")["failure"] == "unreachable"
        assert status_of(collector, "/healthz") == 200


def test_node_that_joins_does_not_make_the_collector_unready(agents: FakeAgents, tmp_path: Path) -> None:
    """Its agent hangs, so it has not been asked for a while. A Service must not lose its only endpoint by that."""
    agents.behaviours[BAD] = agents.hang
    arguments = collecting(agents, tmp_path)
    peers = tmp_path / "peers.yml"
    whole = peers.read_text()
    peers.write_text(json.dumps([{"name": "node1", "addresses": [agents.address("node1")]}]))
    with running_collector(tmp_path, *arguments) as collector:
        wait_until(lambda: status_of(collector, "/readyz") == 200)
        peers.write_text(whole)

        def has_failed() -> bool:
            assert status_of(collector, "/readyz") == 200
            return any(node["failure"] == "timeout" for node in collector.matrix()["nodes"])

        wait_until(has_failed)


def test_nodes_come_and_go_with_the_peers_file(agents: FakeAgents, tmp_path: Path) -> None:
    """The matrix has the nodes of the file as it is."""
    arguments = collecting(agents, tmp_path)
    peers = tmp_path / "peers.yml"
    with running_collector(tmp_path, *arguments) as collector:
        wait_until(lambda: len(collector.matrix()["nodes"]) == 4)
        whole = peers.read_text()
        entries = [{"name": name, "addresses": [agents.address(name)]} for name in ("node1", "node2")]
        peers.write_text(json.dumps(entries))
        wait_until(lambda: [node["name"] for node in collector.matrix()["nodes"]] == ["node1", "node2"])
        wait_until(lambda: collector.matrix()["states"] == ["-m", "m-"])
        before = agents.requests.copy()
        wait_until(lambda: agents.requests["node1"] >= before["node1"] + 3)
        assert agents.requests[BAD] <= before[BAD] + 1  # one may have been on its way
        peers.write_text(whole)
        wait_until(lambda: collector.matrix()["states"] == ["-mmm", "m-mm", "mm-m", "mmm-"])


def test_pair_has_both_directions_and_the_agents_details(agents: FakeAgents, tmp_path: Path) -> None:
    """The first answer may come before the details; they follow while somebody asks. A bad agent has a reason."""
    agents.behaviours[BAD] = agents.hang
    with running_collector(tmp_path, *collecting(agents, tmp_path)) as collector:
        wait_until(lambda: all(each["detail"] for each in collector.pair("node1", "node2")["directions"]))
        there, back = collector.pair("node1", "node2")["directions"]
        assert (there["from"], there["to"], there["state"]) == ("node1", "node2", "measured")
        assert (back["from"], back["to"], back["state"]) == ("node2", "node1", "measured")
        assert there["last"]["rtt_seconds"] == 43.1e-6
        (family,) = there["detail"]["families"]
        assert family["device"] == "eth0"
        assert family["probes"] == [probe(1)]
        assert there["detail"]["source"] == "tracepoint"
        wait_until(lambda: collector.pair("node3", "node1")["directions"][0]["detail_failure_text"])
        there, _ = collector.pair("node3", "node1")["directions"]
        assert (there["state"], there["detail"]) == ("stale", None)
        assert there["detail_failure_text"] == "does not answer in time"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/api/v1/matrix?measure=beauty", 400, "no measure 'beauty'; there is rtt, rtt_p50"),
        ("/api/v1/pair?from=node1", 400, "name two nodes"),
        ("/api/v1/pair?from=node1&to=node1", 400, "a node is no pair"),
        ("/api/v1/pair?from=node1&to=node9", 404, "no node 'node9'"),
    ],
)
def test_wrong_question_is_answered_with_what_is_wrong(
    agents: FakeAgents, tmp_path: Path, path: str, status: int, text: str
) -> None:
    """As JSON, with the status that fits."""
    with running_collector(tmp_path, *collecting(agents, tmp_path)) as collector:
        wait_until(lambda: len(collector.matrix()["nodes"]) == 4)
        with pytest.raises(urllib.error.HTTPError) as caught:
            collector.get(path)
        with caught.value as error:
            assert error.code == status
            assert text in json.loads(error.read())["error"]


def status_of(collector: RunningCollector, path: str) -> int:
    try:
        collector.get(path)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return 200


def test_ca_that_is_not_usable_at_the_start_is_one_line(tmp_path: Path) -> None:
    """It names the flag and the file; the status is 2."""
    (tmp_path / "ca.pem").write_text("")
    with FakeAgents(NODES) as agents:
        arguments = collecting(agents, tmp_path, "--agent-scheme", "https", "--ca", str(tmp_path / "ca.pem"))
        finished = subprocess.run(
            [sys.executable, "-P", "-m", "monlat_ebpf", "collect", "--listen", "127.0.0.1:0", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    assert finished.returncode == 2
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("monlat: --ca (MONLAT_CA): ")
    assert "ca.pem is not usable" in last


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "--peers"),
        (("--discovery", "kubernetes", "--peers", "x"), "--peers"),
        (("--peers", "x", "--collect-interval", "500ms"), "--collect-interval"),
        (("--peers", "x", "--collect-timeout", "6s"), "--collect-timeout"),
        (("--peers", "x", "--agent-server-name", ""), "--agent-server-name"),
        (("--peers", "/nonexistent"), "peers file /nonexistent cannot be read"),
    ],
)
def test_wrong_flag_is_one_line_and_status_2(arguments: tuple[str, ...], text: str) -> None:
    """It names the flag."""
    finished = subprocess.run(
        [sys.executable, "-P", "-m", "monlat_ebpf", "collect", "--listen", "127.0.0.1:0", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith("monlat: ")
    assert text in line


def test_page_and_its_files_have_a_strict_policy(agents: FakeAgents, tmp_path: Path) -> None:
    """No inline script or style, nothing from elsewhere; files are kept for ever under a path with their hash."""
    with running_collector(tmp_path, *collecting(agents, tmp_path)) as collector:
        page = collector.get("/").decode()
        files = sorted({part.split('"')[0] for part in page.split('="')[1:] if part.startswith("page/")})
        assert [file.rsplit("/", 1)[1] for file in files] == ["icon.svg", "main.js", "matrix.css", "page.css"]
        for path in ("/", *(f"/{file}" for file in files)):
            headers = headers_of(collector, path)
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == ("no-cache" if path == "/" else "public, max-age=31536000, immutable")


def headers_of(collector: RunningCollector, path: str) -> dict[str, str]:
    finished = subprocess.run(
        ["curl", "--silent", "--fail", "--head", collector.url + path], capture_output=True, text=True, check=True
    )
    lines = (line.split(": ", 1) for line in finished.stdout.splitlines()[1:] if line)
    return {name.lower(): value for name, value in lines}
