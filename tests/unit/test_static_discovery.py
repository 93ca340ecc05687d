"""Static discovery with real files: what it publishes, keeps, counts and logs."""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from monlat_ebpf.discovery.static import LARGEST_FILE, StaticDiscovery
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Peer, PeerKind
from testkit.waiting import wait_until

PATIENCE = 20.0  # seconds, for a busy machine; discovery itself needs two polls
POLL_SECONDS = 0.02

NODE1 = "- {name: node1, addresses: [10.0.0.1]}\n"
NODE2 = "- {name: node2, addresses: [10.0.0.2]}\n"
NODE3 = "- {name: node3, addresses: [10.0.0.3]}\n"
PEER2 = Peer("node2", (ip_address("10.0.0.2"),))
PEER3 = Peer("node3", (ip_address("10.0.0.3"),))


class Followed:
    """A discovery that follows `file` as node1, and records what it publishes and counts."""

    def __init__(self, file: Path, kind: PeerKind = PeerKind.NODE, registry: CollectorRegistry | None = None) -> None:
        self.file, self.registry = file, registry or CollectorRegistry()
        self.published: queue.Queue[tuple[Peer, ...]] = queue.Queue()
        self.discovery = StaticDiscovery(
            file, node_name="node1", registry=self.registry, kind=kind, poll_seconds=POLL_SECONDS
        )

    def start(self) -> tuple[Peer, ...]:
        def publish(peers: Sequence[Peer]) -> None:
            self.published.put(tuple(peers))

        self.discovery.start(publish)
        return self.published.get_nowait()

    def next(self) -> tuple[Peer, ...]:
        return self.published.get(timeout=PATIENCE)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def errors(self) -> tuple[float | None, float | None]:
        """The numbers of read errors and of parse errors."""
        name = "monlat_discovery_errors_total"
        return self.value(name, reason="read"), self.value(name, reason="parse")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "peers.yaml"
    path.write_text(NODE1 + NODE2)
    return path


@pytest.fixture
def followed(file: Path) -> Iterator[Followed]:
    followed = Followed(file)
    assert followed.start() == (PEER2,)
    yield followed
    followed.discovery.stop()


def replace(file: Path, text: str) -> None:
    """Replace `file` atomically, by a rename, as editors and configuration managers do."""
    beside = file.with_name("beside")
    beside.write_text(text)
    beside.rename(file)


def test_first_list_is_published_before_start_returns(followed: Followed) -> None:
    """It omits this node. up is 1, and no reload is counted."""
    assert followed.value("monlat_discovery_up") == 1
    assert followed.value("monlat_discovery_reloads_total") == 0
    assert followed.errors() == (0, 0)


def test_missing_file_at_start_is_a_configuration_error(tmp_path: Path) -> None:
    """The message names the file and what to check. The exit status is 2."""
    missing = tmp_path / "missing.yaml"
    with pytest.raises(ConfigError) as caught:
        Followed(missing).start()
    assert str(caught.value) == (
        f"peers file {missing} cannot be read: No such file or directory; "
        "check that it exists and that monlat may read it"
    )
    assert caught.value.exit_status == 2


def test_wrong_file_at_start_is_a_configuration_error(file: Path) -> None:
    """The message begins with file and line."""
    file.write_text(NODE2 + "- {name: node3}\n")
    with pytest.raises(ConfigError) as caught:
        Followed(file).start()
    assert str(caught.value) == f"{file}:2: addresses: missing for 'node3'; add a list, as in [10.0.0.2]"


def test_pipe_is_rejected_without_waiting_for_its_writer(tmp_path: Path) -> None:
    """A pipe cannot be polled for changes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"cannot be read: it is not a regular file; "):
        Followed(pipe).start()


def test_directory_is_rejected(tmp_path: Path) -> None:
    """Only a regular file is accepted."""
    with pytest.raises(ConfigError, match=r"cannot be read: it is not a regular file; "):
        Followed(tmp_path).start()


def test_file_over_the_size_limit_is_rejected(file: Path) -> None:
    """4 MiB and one byte of comment."""
    file.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match=r"peers.yaml: it is larger than 4 MiB, too large for a list of peers; "):
        Followed(file).start()


def test_file_that_is_not_utf8_is_rejected_with_its_line(file: Path) -> None:
    """Byte E9 is Latin-1's e with an accent."""
    file.write_bytes(NODE2.encode() + b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"peers.yaml:2: byte 0xE9 is not UTF-8; save the file as UTF-8"):
        Followed(file).start()


def test_list_without_peers_is_logged_as_a_warning(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is legal, but nothing will be probed."""
    file.write_text(NODE1)
    followed = Followed(file)
    assert followed.start() == ()
    followed.discovery.stop()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{file} lists no peer: nothing is probed until it does"
    ]


def test_edit_in_place_is_followed(followed: Followed) -> None:
    """The same inode with new content gives a new list."""
    followed.file.write_text(NODE2 + NODE3)
    assert followed.next() == (PEER2, PEER3)
    wait_until(lambda: followed.value("monlat_discovery_reloads_total") == 1)


def test_atomic_rename_is_followed(followed: Followed) -> None:
    """A new inode of the same size under the same name gives a new list."""
    replace(followed.file, NODE1 + NODE3)
    assert followed.next() == (PEER3,)


def test_edit_that_keeps_size_and_modification_time_is_followed(followed: Followed) -> None:
    """A copy with preserved times, or a restored backup, still changes the inode's ctime."""
    before = followed.file.stat()
    followed.file.write_text(NODE1 + NODE3)
    os.utime(followed.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert followed.file.stat().st_size == before.st_size
    assert followed.next() == (PEER3,)


def test_swapped_symlinks_of_a_configmap_are_followed(tmp_path: Path) -> None:
    """As the kubelet does it: peers.yaml -> ..data/peers.yaml, and a rename replaces ..data -> DIRECTORY."""
    for name, text in (("..first", NODE2), ("..second", NODE3)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "peers.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("..first")
    (tmp_path / "peers.yaml").symlink_to("..data/peers.yaml")
    followed = Followed(tmp_path / "peers.yaml")
    assert followed.start() == (PEER2,)
    (tmp_path / "..data_tmp").symlink_to("..second")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert followed.next() == (PEER3,)
    followed.discovery.stop()


def test_wrong_file_keeps_the_last_good_list(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and logged once, with line and field. up is 0 until the file is valid again."""
    replace(followed.file, NODE2 + "- {name: node3, address: 10.0.0.3}\n")
    wait_until(lambda: followed.errors() == (0, 1))
    wait_until(lambda: followed.value("monlat_discovery_up") == 0)
    replace(followed.file, NODE2 + NODE3)
    assert followed.next() == (PEER2, PEER3)
    assert followed.errors() == (0, 1)
    wait_until(lambda: followed.value("monlat_discovery_up") == 1)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        f"{followed.file}:2: 'address': unknown field; did you mean addresses?; keeping the last good list (peers: 1)"
    ]


def test_address_of_two_nodes_is_logged_once(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """The first by name keeps it; a change elsewhere in the file does not repeat the warning."""
    twice = "- {name: node4, addresses: [10.0.0.3]}\n"
    replace(followed.file, NODE2 + twice + NODE3)
    assert followed.next() == (PEER2, PEER3)
    replace(followed.file, NODE2.replace("0.2", "0.7") + twice + NODE3)
    assert followed.next() == (Peer("node2", (ip_address("10.0.0.7"),)), PEER3)
    (line,) = (record.getMessage() for record in caplog.records if "belongs to" in record.getMessage())
    assert line.startswith(f"{followed.file}:2: addresses: 10.0.0.3 of 'node4' belongs to 'node3' on line 3")


def test_same_wrong_content_counts_once(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong file that vanishes and returns is read again but not counted again. Different wrong content is."""
    caplog.set_level(logging.INFO)
    replace(followed.file, "- node2\n")
    wait_until(lambda: followed.errors() == (0, 1))
    away = followed.file.rename(followed.file.with_name("away"))
    wait_until(lambda: followed.errors() == (1, 1))
    away.rename(followed.file)
    wait_until(lambda: f"{followed.file} can be read again" in caplog.messages)
    replace(followed.file, "- node3\n")
    wait_until(lambda: followed.errors() == (1, 2))
    assert followed.value("monlat_discovery_up") == 0
    replace(followed.file, NODE1 + NODE3)
    assert followed.next() == (PEER3,)
    assert followed.errors() == (1, 2)


def test_vanished_file_keeps_the_last_good_list(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted once, however long it is missing, and read when it returns."""
    away = followed.file.rename(followed.file.with_name("away"))
    wait_until(lambda: followed.errors() == (1, 0))
    assert followed.value("monlat_discovery_up") == 0
    away.rename(followed.file)
    wait_until(lambda: followed.value("monlat_discovery_up") == 1)
    assert followed.errors() == (1, 0)
    assert followed.value("monlat_discovery_reloads_total") == 0
    assert followed.published.empty()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [
        f"peers file {followed.file} cannot be read: No such file or directory; "
        "check that it exists and that monlat may read it; keeping the last good list (peers: 1)"
    ]


def test_change_of_a_comment_is_not_published(followed: Followed) -> None:
    """It counts as a reload; the list stays the same."""
    replace(followed.file, "# all of them\n" + NODE1 + NODE2)
    wait_until(lambda: followed.value("monlat_discovery_reloads_total") == 1)
    assert followed.published.empty()


def test_time_of_the_last_change_is_exposed(followed: Followed) -> None:
    """It is the wall-clock time of the publication."""
    before = time.time()
    replace(followed.file, NODE3)
    assert followed.next() == (PEER3,)
    wait_until(lambda: (followed.value("monlat_discovery_last_change_timestamp_seconds") or 0) >= before)
    assert (followed.value("monlat_discovery_last_change_timestamp_seconds") or 0) <= time.time()


def test_targets_file_is_read_like_a_peers_file(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its peers are targets. Its series have names of their own, beside those of any discovery; it may be empty."""
    caplog.set_level(logging.INFO)
    nodes = Followed(file)
    assert nodes.start() == (PEER2,)
    beside = file.with_name("targets.yaml")
    beside.write_text(NODE3)
    targets = Followed(beside, kind=PeerKind.TARGET, registry=nodes.registry)
    try:
        assert targets.start() == (Peer("node3", (ip_address("10.0.0.3"),), kind=PeerKind.TARGET),)
        assert nodes.value("monlat_targets_up") == 1
        beside.write_text("- nonsense\n")
        wait_until(lambda: nodes.value("monlat_targets_errors_total", reason="parse") == 1)
        assert nodes.value("monlat_targets_up") == 0
        assert nodes.value("monlat_discovery_up") == 1
        beside.write_text("[]\n")
        assert targets.next() == ()
        wait_until(lambda: nodes.value("monlat_targets_reloads_total") == 1)
        assert nodes.value("monlat_discovery_reloads_total") == 0
        assert f"targets file {beside}: empty" in caplog.messages
    finally:
        targets.discovery.stop()
        nodes.discovery.stop()


def test_missing_targets_file_at_start_is_a_configuration_error(tmp_path: Path) -> None:
    """The message says which of the two files it is."""
    with pytest.raises(ConfigError, match=r"^targets file .*/none\.yaml cannot be read: No such file or directory; "):
        Followed(tmp_path / "none.yaml", kind=PeerKind.TARGET).start()


def test_stop_ends_the_thread(file: Path) -> None:
    """Nothing is published after stop() returns. stop() before start() does nothing."""
    followed = Followed(file)
    followed.discovery.stop()
    followed = Followed(file)
    followed.start()
    followed.discovery.stop()
    replace(file, NODE3)
    assert followed.published.empty()
