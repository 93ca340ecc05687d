"""A cluster that belongs to the tests: they cut its nodes' power and kill its API server.

A program makes it, `MONLAT_CLUSTER`. It has the commands `node K` and `stop K` (start node K; end it as a power cut
does), `run K COMMAND` (in node K's namespaces) and `part NAME stop|start` (etcd, apiserver, kcm, scheduler: kill and
start). Node K is `nodeK`. `LAB_DIR` holds `NAME.pid` and `NAME.log` of each part and node, and `pki`; in `LAB_ROOT` is
`lab/pki`, the certificates and keys that the control plane reads.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testkit.waiting import wait_until
from tests.real_cluster.api import Api

JOINING: Final = (4, 5)
"""The numbers of the nodes that join and leave. The others, 1 to 3, stay."""

_CONTROL_PLANE: Final = "klcp"  # the network namespace of etcd and of the API server
_ETCD: Final = "http://127.0.0.1:2379"


@dataclass(frozen=True)
class OwnCluster:
    """The program, and the API server of its cluster."""

    maker: str
    api: Api
    directory: Path
    root: Path

    @classmethod
    def of_environment(cls, api: Api) -> OwnCluster:
        return cls(os.environ["MONLAT_CLUSTER"], api, Path(os.environ["LAB_DIR"]), Path(os.environ["LAB_ROOT"]))

    def command(self, *arguments: str, stdin: str = "") -> str:
        """Run a command of the program and return its output. Raises AssertionError when it fails.

        Its output goes to a file: what it starts in the background would keep a pipe open.
        """
        with (self.directory / "command.log").open("w+") as log:
            done = subprocess.run(
                [self.maker, *arguments], input=stdin, stdout=log, stderr=log, text=True, timeout=120, check=False
            )
            log.seek(0)
            output = log.read()
        assert done.returncode == 0, f"{self.maker} {' '.join(arguments)}:\n{output}"
        return output

    def cut_power(self, node: int) -> None:
        self.command("stop", str(node))

    def start_node(self, node: int) -> None:
        self.command("node", str(node))

    def on_node(self, node: int, *command: str, stdin: str = "") -> str:
        return self.command("run", str(node), *command, stdin=stdin)

    def remove_node(self, node: int) -> None:
        """Cut its power and delete its object, as a cloud does, and its pods, as their collector does later."""
        self.cut_power(node)
        self.api.run("delete", "node", f"node{node}", "--ignore-not-found")
        on_node = ("--all-namespaces", f"--field-selector=spec.nodeName=node{node}")
        self.api.run("delete", "pods", *on_node, "--force", "--grace-period=0")

    @contextmanager
    def joined(self, node: int = JOINING[0]) -> Iterator[str]:
        """Let a node join, which is gone again when the block ends. Its name."""
        self.start_node(node)
        try:
            yield f"node{node}"
        finally:
            self.remove_node(node)

    # The control plane

    def kill(self, part: str) -> None:
        """Kill a part, and wait until its port is free."""
        process = int((self.directory / f"{part}.pid").read_text())
        self.command("part", part, "stop")
        _wait_for_end(process)

    def start(self, part: str) -> None:
        self.command("part", part, "start")

    @contextmanager
    def without_api_server(self) -> Iterator[None]:
        """Kill the API server. When the block ends, start it, and wait until it answers."""
        self.kill("apiserver")
        try:
            yield
        finally:
            self.start("apiserver")
            self.wait_for_api_server()

    def restart(self, *parts: str) -> None:
        """Kill parts of the control plane, start them, and wait until the API server answers."""
        for part in parts:
            self.kill(part)
        for part in parts:
            self.start(part)
        self.wait_for_api_server()

    def wait_for_api_server(self) -> None:
        try:
            wait_until(self._is_api_server_ready, "the API server is not ready", seconds=120, pause=0.1)
        except TimeoutError as error:
            log = (self.directory / "apiserver.log").read_text(errors="replace")
            raise TimeoutError(f"{error}. The end of its log:\n{log[-2000:]}") from None

    def _is_api_server_ready(self) -> bool:
        try:
            return self.api.text("/readyz") == "ok"
        except OSError:
            return False

    def describe(self, *nodes: str) -> str:
        """Return the state of all nodes, and the ends of the logs of these and of the control plane."""
        logs = [self.directory / f"{part}.log" for part in ("kcm", "scheduler", *nodes)]
        ends = [f"{log.name}: {log.read_text(errors='replace')[-2000:]}" for log in logs if log.exists()]
        return "\n".join([self.api.start("get", "nodes", "--output", "wide").stdout, *ends])

    def etcd(self, method: str, **body: Any) -> Any:
        """Call etcd's JSON API: `range`, `put`, `compaction`, with bytes in base64."""
        request = ["curl", "--silent", "--show-error", "--fail", "--data", json.dumps(body), f"{_ETCD}/v3/kv/{method}"]
        done = subprocess.run(
            ["ip", "netns", "exec", _CONTROL_PLANE, *request], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, f"etcd, {method}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    @property
    def keys(self) -> Path:
        """The directory of the control plane's certificates and keys. Its parts read them when they start."""
        return self.root / "lab/pki"

    @contextmanager
    def restored_keys(self) -> Iterator[Path]:
        """Give that directory, and restore its files when the block ends."""
        copy = self.directory / "pki.before"
        shutil.copytree(self.keys, copy)
        try:
            yield self.keys
        finally:
            shutil.copytree(copy, self.keys, dirs_exist_ok=True)
            shutil.rmtree(copy)

    def restart_kubelet(self, node: int) -> None:
        """Kill a kubelet and start it again in its namespaces. Its containers go on."""
        file = self.directory / f"node{node}.pid"
        kubelet = int(file.read_text())
        line = [part for part in Path(f"/proc/{kubelet}/cmdline").read_text().split("\0") if part]
        containerd = (self.directory / f"data{node}/containerd.pid").read_text().strip()
        os.kill(kubelet, signal.SIGKILL)
        _wait_for_end(kubelet)
        in_background = 'setsid nohup "$@" >>"$0" 2>&1 </dev/null & echo $!'  # the number will be the kubelet's
        command = ["nsenter", "--target", containerd, "--mount", "--uts", "--net", *line]
        log = str(self.directory / f"node{node}.log")
        started = subprocess.run(
            ["bash", "-c", in_background, log, *command], stdout=subprocess.PIPE, text=True, timeout=30, check=True
        )
        file.write_text(started.stdout)


def _wait_for_end(process: int) -> None:
    wait_until(lambda: not _has_threads(process), f"process {process} does not end", seconds=60)


def _has_threads(process: int) -> bool:
    """Return whether a thread is left. The first may be a zombie while others still hold the process's sockets."""
    for stat in Path(f"/proc/{process}/task").glob("*/stat"):
        try:
            state = stat.read_text().rpartition(") ")[2][0]
        except OSError:  # ended
            continue
        if state not in "ZX":
            return True
    return False
