"""Small kernel programs that redirect or drop packets, made of raw instructions and loaded through libbpf."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final, Literal

from monlat_ebpf.testbed.namespace import Namespace
from testkit.links import Links

_LIBBPF: Final = ctypes.CDLL("libbpf.so.1")
_TC, _XDP = 3, 6  # enum bpf_prog_type, linux/bpf.h
_SHOT: Final = 2  # TC_ACT_SHOT, linux/pkt_cls.h
_FLAGS: Final = {"generic": 2, "native": 4}  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
_SIDES: Final = {"ingress": 1, "egress": 2}  # enum bpf_tc_attach_point
_HELPERS: Final = {"redirect": 23, "redirect_neigh": 152, "redirect_peer": 155}  # linux/bpf.h
_TO_INGRESS: Final = 1  # BPF_F_INGRESS

Side = Literal["ingress", "egress"]
Mode = Literal["generic", "native"]


class _Hook(ctypes.Structure):
    """struct bpf_tc_hook, bpf/libbpf.h."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("interface", ctypes.c_int),
        ("side", ctypes.c_int),
        ("parent", ctypes.c_uint32),
    )


class _Options(ctypes.Structure):
    """struct bpf_tc_opts."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("program", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("program_id", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
    )


def redirect(
    namespace: Namespace,
    device: str,
    to: str,
    helper: Literal["redirect", "redirect_neigh", "redirect_peer"] = "redirect",
    *,
    received: bool = False,
) -> None:
    """Give every packet that `device` receives to the device `to`; with `received`, as if that one received it."""
    with Links(namespace) as links:
        target = links.index(to)
    arguments = (target, _TO_INGRESS if received else 0, 0, 0)[: 4 if helper == "redirect_neigh" else 2]
    moves = [_move(register, value) for register, value in enumerate(arguments, start=1)]
    _attach_tc(namespace, device, "ingress", b"".join([*moves, _instruction(0x85, 0, _HELPERS[helper])]))


def drop(namespace: Namespace, device: str, side: Side) -> None:
    """Drop every packet on one side of `device`, past its queue on receiving and before it on sending."""
    _attach_tc(namespace, device, side, _move(0, _SHOT))


def attach_xdp(namespace: Namespace, device: str, mode: Mode, action: Literal["drop", "pass"]) -> None:
    """Let XDP drop or pass every packet that `device` receives."""
    program = _load(_XDP, _move(0, {"drop": 1, "pass": 2}[action]))  # enum xdp_action
    _set_xdp(namespace, device, program, mode)
    os.close(program)


def detach_xdp(namespace: Namespace, device: str, mode: Mode) -> None:
    """Undo attach_xdp."""
    _set_xdp(namespace, device, -1, mode)


def _set_xdp(namespace: Namespace, device: str, program: int, mode: Mode) -> None:
    with Links(namespace) as links, namespace.entered():
        _check(_LIBBPF.bpf_xdp_attach(links.index(device), program, _FLAGS[mode], None), f"{mode} XDP on {device}")


def _attach_tc(namespace: Namespace, device: str, side: Side, instructions: bytes) -> None:
    program = _load(_TC, instructions)
    with Links(namespace) as links, namespace.entered():
        hook = _Hook(ctypes.sizeof(_Hook), links.index(device), _SIDES[side], 0)
        options = _Options(ctypes.sizeof(_Options), program, 0, 0, 0, 0)
        _check(_LIBBPF.bpf_tc_hook_create(ctypes.byref(hook)), f"clsact on {device}")
        _check(_LIBBPF.bpf_tc_attach(ctypes.byref(hook), ctypes.byref(options)), f"a filter on {device}")
    os.close(program)


def _load(kind: int, instructions: bytes) -> int:
    text = instructions + _instruction(0x95, 0, 0)  # exit
    program = _LIBBPF.bpf_prog_load(kind, b"path", b"GPL", text, ctypes.c_size_t(len(text) // 8), None)
    return _check(program, "load a program")


def _move(register: int, value: int) -> bytes:
    return _instruction(0xB7, register, value)  # 64 bits, immediate


def _instruction(code: int, register: int, value: int) -> bytes:
    """Return a struct bpf_insn without source register and offset."""
    return struct.pack("=BBhi", code, register, 0, value)


def _check(status: int, what: str) -> int:
    assert status >= 0, f"{what}: {os.strerror(-status)}"
    return status
