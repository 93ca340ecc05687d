"""Static discovery against real files: what it publishes, what it keeps, what it counts and logs."""

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
from monlat_ebpf.model import Peer
from testkit.waiting import wait_until

PATIENCE = 20.0  # seconds, for a machine with other work; the discovery itself needs two looks
LOOK_EACH = 0.02  # seconds

NODE1 = "- {name: node1, addresses: [10.0.0.1]}\n"
NODE2 = "- {name: node2, addresses: [10.0.0.2]}\n"
NODE3 = "- {name: node3, addresses: [10.0.0.3]}\n"
PEER2 = Peer("node2", (ip_address("10.0.0.2"),))
PEER3 = Peer("node3", (ip_address("10.0.0.3"),))


class Followed:
    """A discovery that follows `file` as node1, with what it published and counted."""

    def __init__(self, file: Path, max_peers: int = 1000) -> None:
        self.file = file
        self.registry = CollectorRegistry()
        self.published: queue.Queue[tuple[Peer, ...]] = queue.Queue()
        self.discovery = StaticDiscovery(
            file, node_name="node1", max_peers=max_peers, registry=self.registry, look_each_seconds=LOOK_EACH
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
        """How often it could not read, and could not parse."""
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
    """Write `text` beside `file` and rename it over it, as editors and configuration managers do."""
    beside = file.with_name("beside")
    beside.write_text(text)
    beside.rename(file)


def test_the_first_list_is_published_before_start_returns(followed: Followed) -> None:
    """Without this node itself; up is 1, and nothing was reloaded."""
    assert followed.value("monlat_discovery_up") == 1
    assert followed.value("monlat_discovery_reloads_total") == 0
    assert followed.errors() == (0, 0)


def test_a_missing_file_at_start_is_a_configuration_error(tmp_path: Path) -> None:
    """The message names the file and what to see to; the exit status is 2."""
    missing = tmp_path / "missing.yaml"
    with pytest.raises(ConfigError) as caught:
        Followed(missing).start()
    assert str(caught.value) == (
        f"peers file {missing} cannot be read: No such file or directory; "
        "see that it exists and that monlat may read it"
    )
    assert caught.value.exit_status == 2


def test_a_wrong_file_at_start_is_a_configuration_error(file: Path) -> None:
    """The message begins with file and line."""
    file.write_text(NODE2 + "- {name: node3}\n")
    with pytest.raises(ConfigError) as caught:
        Followed(file).start()
    assert str(caught.value) == f"{file}:2: addresses: is missing for 'node3'; give a list, as in [10.0.0.2]"


def test_more_peers_than_allowed_at_start_are_a_configuration_error(file: Path) -> None:
    """The limit counts peers: this node's own entry is none."""
    file.write_text(NODE1 + NODE2 + NODE3)
    with pytest.raises(ConfigError, match=r":3: this is peer 2, and at most 1 are allowed; "):
        Followed(file, max_peers=1).start()


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe cannot be followed, and opening one must not wait for its writer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"cannot be read: it is no regular file; "):
        Followed(pipe).start()


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """As a pipe is."""
    with pytest.raises(ConfigError, match=r"cannot be read: it is no regular file; "):
        Followed(tmp_path).start()


def test_a_file_over_the_limit_is_refused(file: Path) -> None:
    """One byte over 4 MiB of comment is no list of peers."""
    file.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match=r"peers.yaml: it is over 4 MiB long, which no list of peers is; "):
        Followed(file).start()


def test_a_file_that_is_not_utf8_is_refused_with_its_line(file: Path) -> None:
    """Latin-1's e with an accent is byte E9."""
    file.write_bytes(NODE2.encode() + b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"peers.yaml:2: byte 0xE9 is not UTF-8; save the file as UTF-8"):
        Followed(file).start()


def test_an_empty_file_says_what_that_means(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No peer is legal, and loud."""
    file.write_text(NODE1)
    followed = Followed(file)
    assert followed.start() == ()
    followed.discovery.stop()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{file} lists no node but this one: nothing is probed until it does"
    ]


def test_an_edit_in_place_is_followed(followed: Followed) -> None:
    """The same inode with another content is another list."""
    followed.file.write_text(NODE2 + NODE3)
    assert followed.next() == (PEER2, PEER3)
    wait_until(lambda: followed.value("monlat_discovery_reloads_total") == 1)


def test_an_atomic_rename_is_followed(followed: Followed) -> None:
    """Another inode of the same size under the same name is another list."""
    replace(followed.file, NODE1 + NODE3)
    assert followed.next() == (PEER3,)


def test_an_edit_that_keeps_size_and_modification_time_is_followed(followed: Followed) -> None:
    """A file copied with its times kept, or put back by a backup, still changes its inode's own time."""
    before = followed.file.stat()
    followed.file.write_text(NODE1 + NODE3)
    os.utime(followed.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert followed.file.stat().st_size == before.st_size
    assert followed.next() == (PEER3,)


def test_the_swapped_symlinks_of_a_configmap_are_followed(tmp_path: Path) -> None:
    """As the kubelet does: peers.yaml -> ..data/peers.yaml, ..data -> a directory, replaced by a rename."""
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


def test_a_wrong_file_keeps_the_last_good_list(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and logged once, with line and field; up is 0 until the file is good again."""
    replace(followed.file, NODE2 + "- {name: node3, address: 10.0.0.3}\n")
    wait_until(lambda: followed.errors() == (0, 1))
    wait_until(lambda: followed.value("monlat_discovery_up") == 0)
    replace(followed.file, NODE2 + NODE3)
    assert followed.next() == (PEER2, PEER3)
    assert followed.errors() == (0, 1)
    wait_until(lambda: followed.value("monlat_discovery_up") == 1)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        f"{followed.file}:2: 'address': unknown field; did you mean addresses?; the last good list, of 1, stays"
    ]


def test_the_same_wrong_content_counts_once(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong file that goes and comes back is read again and is no new error; the next wrong content is."""
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


def test_a_vanished_file_keeps_the_last_good_list(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted once however long it is away, and read when it is back."""
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
        "see that it exists and that monlat may read it; the last good list, of 1, stays"
    ]


def test_a_change_that_changes_no_peer_is_not_published(followed: Followed) -> None:
    """A comment is a reload, and the list stays what it was."""
    replace(followed.file, "# all of them\n" + NODE1 + NODE2)
    wait_until(lambda: followed.value("monlat_discovery_reloads_total") == 1)
    assert followed.published.empty()


def test_the_time_of_the_last_change_is_shown(followed: Followed) -> None:
    """It is the wall clock's time of the publication."""
    before = time.time()
    replace(followed.file, NODE3)
    assert followed.next() == (PEER3,)
    wait_until(lambda: (followed.value("monlat_discovery_last_change_timestamp_seconds") or 0) >= before)
    assert (followed.value("monlat_discovery_last_change_timestamp_seconds") or 0) <= time.time()


def test_stop_ends_the_thread(file: Path) -> None:
    """stop() returns when nothing follows the file any more, and is harmless before start()."""
    followed = Followed(file)
    followed.discovery.stop()
    followed = Followed(file)
    followed.start()
    followed.discovery.stop()
    replace(file, NODE3)
    assert followed.published.empty()
