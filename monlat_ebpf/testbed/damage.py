"""What is broken between nodes of a Cluster: packets that are lost, or that arrive later. In one direction each."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, Self

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.network import Cluster, Node
from monlat_ebpf.testbed.relay import BEGIN, READY

_TABLE: Final = "damage"


class Damage:
    """Damages IPv4 packets from any of `senders` to any of `receivers`, in the switch, until it is closed.

    A share `loss` of them is lost, from 0 to 1. If `delay_seconds` is given, all of them arrive so much later instead.
    Other packets are not touched: neither those of the way back, nor the switch's own. A context manager. One cluster
    has one damage at a time. Raises TestbedError if it cannot be done, for example without the program nft.
    """

    def __init__(
        self,
        cluster: Cluster,
        senders: Sequence[Node],
        receivers: Sequence[Node],
        *,
        loss: float = 0.0,
        delay_seconds: float = 0.0,
    ) -> None:
        self._cluster = cluster
        self._senders = senders
        self._receivers = receivers
        self._loss = loss
        self._delay_seconds = delay_seconds
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            if self._delay_seconds:
                relay = self._started_relay()
                self._drop(1.0)
                relay.sendall(BEGIN)
            else:
                self._drop(self._loss)
            self._stack = self._stack.pop_all()  # done; from here on only close() undoes it
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Undo it; may be called twice."""
        self._stack.close()

    def _drop(self, share: float) -> None:
        self._stack.callback(self._nft, f"table netdev {_TABLE}\ndelete table netdev {_TABLE}\n")
        self._nft(rules(self._cluster, self._senders, self._receivers, share))

    def _nft(self, script: str) -> None:
        process = self._cluster.switch.popen(
            ["nft", "--file", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        output, _ = process.communicate(script)
        if process.returncode:
            raise TestbedError(f"nft cannot drop packets in namespace {self._cluster.switch.name}: {output.strip()}")

    def _started_relay(self) -> socket.socket:
        """Return the socket of the relay, which reads the ports already and waits for BEGIN."""
        plan = {
            "senders": [self._cluster.port_of(node) for node in self._senders],
            "receivers": {node.ipv4: self._cluster.port_of(node) for node in self._receivers},
            "delay_seconds": self._delay_seconds,
        }
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._cluster.switch.popen(
                [sys.executable, "-P", "-m", "monlat_ebpf.testbed.relay", json.dumps(plan)],
                stdin=theirs,
                start_new_session=True,  # Ctrl-C does not end it
            )
        self._stack.callback(process.wait)
        self._stack.enter_context(ours)  # closed first: the relay then ends
        if ours.recv(len(READY)) != READY:
            raise TestbedError(f"the relay cannot read the ports of namespace {self._cluster.switch.name}")
        return ours


def rules(cluster: Cluster, senders: Sequence[Node], receivers: Sequence[Node], share: float) -> str:
    """Return a script of nftables that drops `share` of the packets from `senders` to `receivers`. Pure."""
    sample = "" if share >= 1 else f"numgen random mod 10000 < {round(share * 10_000)} "
    addresses = ", ".join(node.ipv4 for node in receivers)
    chains = "".join(
        f"  chain {port} {{\n"
        f'    type filter hook ingress device "{port}" priority 0\n'
        f"    ip daddr {{ {addresses} }} {sample}drop\n"
        f"  }}\n"
        for port in map(cluster.port_of, senders)
    )
    return f"table netdev {_TABLE} {{\n{chains}}}\n"
