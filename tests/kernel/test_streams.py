"""Whose requests count: those of a stream that named a live probe of ours, and no others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monlat_ebpf.abi import echo, layout
from tests.kernel.answered import PROBE_NONCE, STREAM, TARGET, Bed, bed, feedback, feedback_to_peer

DWELL_NS = 1_000
PROBES_PER_TARGET = 16
OTHER_STREAM = 0x1234567890ABCDEF


@pytest.fixture(scope="module")
def shared() -> Iterator[Bed]:
    """One test bed for all; each test clears its target first."""
    with bed(4) as made:
        yield made


@pytest.fixture
def proven(shared: Bed) -> Bed:
    """The shared bed, whose peer has proved itself and sent nothing else."""
    shared.sessions.clear(TARGET)
    shared.prove()
    return shared


@pytest.fixture
def unproven(shared: Bed) -> Bed:
    """The shared bed as after the start."""
    shared.sessions.clear(TARGET)
    return shared


@pytest.mark.parametrize(
    ("sequences", "reported", "before", "known"),
    [
        ([0, 1, 2, 3], 3, 0b111, 3),
        ([0, 1, 3], 3, 0b110, 3),
        ([0, 2, 1, 3], 3, 0b111, 3),
        ([5, 4], 5, 0b1, 0),
        ([2**32 - 2, 2**32 - 1, 0, 1], 1, 0b111, 3),
        ([2**32 - 1, 1, 0], 1, 0b11, 2),
        ([9, 10, 30], 30, 0, 16),
        ([14, 15, 30], 30, 0b1100_0000_0000_0000, 16),
        ([3, 35, 20], 35, 0b0100_0000_0000_0000, 16),
        ([3, 36, 37], 37, 0b1, 16),
        ([3, 10_003], 10_003, 0, 16),
        ([10_003, 4], 10_003, 0, 0),
    ],
    ids=["in a row", "one lost", "overtaken", "overtaken at first", "wrap", "overtaken at the wrap", "20 lost",
         "14 lost", "overtaken by 15", "32 lost", "10,000 lost", "overtaken by 10,000"],
)  # fmt: skip
def test_feedback_reports_received_requests_by_sequence(
    proven: Bed, sequences: list[int], reported: int, before: int, known: int
) -> None:
    """The feedback after the first requests of a stream have these sequences, each with its own nonce."""
    bench = proven
    for order, sequence in enumerate(sequences):
        bench.ask((order + 1) << 32 | sequence % PROBES_PER_TARGET, sequence)
    nonce, _, _, received_before, after = feedback_to_peer(bench)
    newest = sequences.index(reported)
    assert nonce == (newest + 1) << 32 | reported % PROBES_PER_TARGET
    assert (received_before, after) == (before, 0)
    assert bench.sessions.feedback(TARGET, 0).known == known


def test_request_without_proof_leaves_only_its_nonce(unproven: Bed) -> None:
    """39 requests: no dwell and no report of the peer; our next request names the last of them, and nothing else."""
    bench, mismatches = unproven, unproven.rejected().get("nonce_mismatch", 0)
    for number in range(39):
        bench.ask(0x700 + number, number, feedback(0xBAD0 + number, bench.wall_ns(), DWELL_NS))
    assert bench.dwells() == [0, 0, 0]
    assert bench.sessions.reception_report(TARGET) is None
    assert feedback_to_peer(bench) == (0x700 + 38, 0, 0, 0, 0)
    assert bench.rejected()["nonce_mismatch"] - mismatches == 39


def test_stream_proves_itself_by_the_nonce_of_a_live_probe(unproven: Bed) -> None:
    """From then on its requests count without feedback: 5 after the proof, and the proof itself."""
    bench, rejected = unproven, unproven.rejected()
    bench.ask(0x90, 9)
    bench.send()
    bench.ask(0x9A, 10, feedback(PROBE_NONCE, bench.wall_ns(), 0))
    for number in range(11, 16):
        bench.ask(0x90 + number, number)
    assert bench.sessions.feedback(TARGET, 0).known == 5
    nonce, _, dwell, before, _ = feedback_to_peer(bench)
    assert (nonce, before) == (0x90 + 15, 0b11111)
    assert dwell > 0
    assert bench.rejected() == rejected


def test_forged_requests_change_nothing_of_a_proven_stream(proven: Bed) -> None:
    """9,001 requests from the peer's address with other streams, near sequences and guessed nonces: no byte of the
    session or of an exchange changes, but for the nonce of the last, which the peer's next request clears."""
    bench = proven
    bench.send()
    for number in range(20):
        bench.ask(0x500 + number, number, feedback(PROBE_NONCE, bench.wall_ns(), 0, before=0b1, known=3))
    memories = (bench.sessions._sessions, bench.sessions._exchanges)
    before = [bytes(memory) for memory in memories]
    for number in range(9_001):
        guessed = feedback(PROBE_NONCE ^ (number + 1) << 4, bench.wall_ns(), DWELL_NS, stream=STREAM ^ 1 << number % 64)
        bench.ask(0x7000 + number, 20 + number % 23, guessed)
    assert feedback_to_peer(bench)[0] == 0x500 + 19
    candidate = layout.SESSION.part("candidate")
    assert candidate.read(memories[0], TARGET).candidate == 0x7000 + 9_000
    candidate.write(memories[0], TARGET, 0)
    assert [bytes(memory) for memory in memories] == before
    bench.ask(0x7000, 20, feedback(1 << 60, 0, 0, stream=7))
    bench.ask(0x500 + 20, 20)
    assert candidate.read(memories[0], TARGET).candidate == 0


def test_program_without_a_stream_is_not_served(proven: Bed) -> None:
    """`monlat ping` from the peer's host, 23 requests: no dwell, and the agent's last one is still reported."""
    bench = proven
    bench.ask(0x9A, 10)
    for number in range(23):
        bench.ask(0x700 + number, number, echo.NO_FEEDBACK)
    assert bench.dwells() == [0, 0, 0]
    assert feedback_to_peer(bench)[0] == 0x9A


def test_restarted_agent_replaces_the_stream_that_is_silent(proven: Bed) -> None:
    """The two runs that sent last are known; each has its own sequences, and knows of none before its proof."""
    bench = proven
    bench.send()
    named = [bench.sessions.feedback(TARGET, 0, turn=turn) for turn in (0, 1)]
    assert named == [echo.NO_FEEDBACK] * 2
    for run, (start, count) in enumerate(((100, 5), (0, 3), (57, 4))):
        for number in range(start, start + count):
            nonce = (run + 1) << 32 | number % PROBES_PER_TARGET
            bench.ask(nonce, number, feedback(PROBE_NONCE, bench.wall_ns(), 0, stream=OTHER_STREAM + run))
    reports = {
        (int.from_bytes(report[:8], "little") >> 32, known)
        for report, known, _ in (bench.sessions.feedback(TARGET, 0, turn=turn) for turn in (0, 1))
    }
    assert reports == {(2, 2), (3, 3)}


def test_streams_with_the_same_positions_do_not_take_each_others_dwells(proven: Bed) -> None:
    """Two agents at one address, in step: each request has its dwell reported, though the other's came after it."""
    bench = proven
    bench.send()
    named = feedback(PROBE_NONCE, bench.wall_ns(), 0, stream=OTHER_STREAM)
    for number in range(40):
        nonces = [run << 32 | number for run in (1, 2)]
        bench.ask(nonces[0], number)
        bench.ask(nonces[1], number, named)
        reported = [feedback_to_peer(bench, turn=turn) for turn in (0, 1)]
        assert {nonce for nonce, *_ in reported} == set(nonces)
        assert all(dwell for _, _, dwell, *_ in reported)
    assert bench.dwells()[TARGET] == 2 * 40 - 2 * 8


def test_peer_that_gets_no_probe_goes_on_naming_the_last(proven: Bed) -> None:
    """Its slot holds a newer probe, and each report of the proven stream still counts as one of now."""
    bench, rejected = proven, proven.rejected()
    bench.send()
    bench.ask(0x31, 0, feedback(PROBE_NONCE, bench.wall_ns(), 0))
    first = bench.sessions.reception_report(TARGET)
    bench.send(nonce=PROBE_NONCE + (1 << 4))
    bench.ask(0x32, 1, feedback(PROBE_NONCE, bench.wall_ns(), 0, known=1))
    second = bench.sessions.reception_report(TARGET)
    assert first is not None
    assert second is not None
    assert (second.nonce, second.known) == (PROBE_NONCE, 1)
    assert second.at_ns > first.at_ns
    assert bench.rejected() == rejected
