"""What stops ICMP echo in rulesets as nft 1.0.6 and iptables-save print them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monlat_ebpf.doctor.firewall import iptables_stops, nft_stops

DROP: dict[str, Any] = {"drop": None}
REJECT: dict[str, Any] = {"reject": {"type": "icmpx", "expr": "port-unreachable"}}
XT_REJECT: dict[str, Any] = {"xt": {"type": "target", "name": "REJECT"}}
ACCEPT: dict[str, Any] = {"accept": None}
COUNTER: dict[str, Any] = {"counter": {"packets": 0, "bytes": 0}}
LIMIT: dict[str, Any] = {"limit": {"rate": 5, "burst": 5, "per": "second", "inv": True}}


def field(protocol: str, name: str, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": name}}, "right": right}}


def meta(key: str, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": right}}


def chain(policy: str = "accept", hook: str = "input") -> dict[str, Any]:
    names = {"family": "inet", "table": "filter", "name": "in", "handle": 1}
    return {"chain": {**names, "type": "filter", "hook": hook, "prio": 0, "policy": policy}}


def rule(*expressions: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "filter", "chain": "in", "handle": 7, "expr": list(expressions)}}


def ruleset(*items: dict[str, Any]) -> str:
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, *items]})


@pytest.mark.parametrize(
    ("expressions", "verdict"),
    [
        ([field("icmp", "type", "echo-request"), DROP], "drop"),
        ([field("icmpv6", "type", {"set": ["echo-request", "echo-reply"]}), REJECT], "reject"),
        ([meta("l4proto", {"set": ["icmp", "ipv6-icmp"]}), REJECT], "reject"),
        ([field("ip", "protocol", "icmp"), LIMIT, DROP], "drop"),
        ([field("ip6", "nexthdr", "ipv6-icmp"), DROP], "drop"),
        ([meta("l4proto", "icmp"), {"xt": {"type": "match", "name": "icmp"}}, COUNTER, DROP], "drop"),
        ([meta("l4proto", "ipv6-icmp"), COUNTER, XT_REJECT], "reject"),
        ([meta("iifname", "eth0"), field("icmp", "type", "echo-reply"), DROP], "drop"),
    ],
)
def test_rule_that_stops_echo_is_reported_with_chain_and_handle(
    expressions: list[dict[str, Any]], verdict: str
) -> None:
    """Matched by type, by protocol, in a set, above a rate, and as iptables-nft writes it."""
    assert nft_stops(ruleset(chain(), rule(*expressions))) == (
        f"nft: a rule of chain inet filter in (handle 7) says {verdict}",
    )


@pytest.mark.parametrize(
    "expressions",
    [
        [field("icmp", "type", "echo-request"), ACCEPT],
        [field("icmp", "type", "redirect"), DROP],
        [meta("l4proto", "icmp"), field("icmp", "type", {"set": ["redirect", "timestamp-request"]}), DROP],
        [field("icmp", "type", "echo-request", op="!="), DROP],
        [meta("l4proto", "tcp"), DROP],
        [field("tcp", "dport", 23), DROP],
        [field("icmp", "type", "echo-request"), COUNTER],
    ],
)
def test_rule_that_does_not_stop_echo_is_not_reported(expressions: list[dict[str, Any]]) -> None:
    """Other types, other protocols, other verdicts."""
    assert nft_stops(ruleset(chain(), rule(*expressions))) == ()


@pytest.mark.parametrize("hook", ["input", "output"])
def test_policy_drop_is_reported_if_no_rule_accepts_echo(hook: str) -> None:
    """Without a rule for ICMP, and with a rule for SSH only. A forward chain does not affect echoes of this node."""
    found = ("nft: chain inet filter in has the policy drop, and no rule accepts ICMP echo",)
    assert nft_stops(ruleset(chain("drop", hook))) == found
    assert nft_stops(ruleset(chain("drop", hook), rule(field("tcp", "dport", 22), ACCEPT))) == found
    assert nft_stops(ruleset(chain("drop", "forward"))) == ()


@pytest.mark.parametrize("expressions", [[meta("l4proto", "icmp"), ACCEPT], [ACCEPT], [COUNTER, ACCEPT]])
def test_policy_drop_is_not_reported_if_a_rule_accepts_echo(expressions: list[dict[str, Any]]) -> None:
    """The rule accepts ICMP, or everything."""
    assert nft_stops(ruleset(chain("drop"), rule(*expressions))) == ()


@pytest.mark.parametrize("text", ["", "Operation not permitted", "[]", "{}", "3"])
def test_text_that_is_not_a_ruleset_is_an_error(text: str) -> None:
    """From an old nft, or one without rights."""
    with pytest.raises(ValueError, match=r".*"):
        nft_stops(text)


SAVED = """*filter
:INPUT {policy} [0:0]
:OUTPUT ACCEPT [0:0]
{rules}
COMMIT
"""


@pytest.mark.parametrize(
    "rule_",
    [
        "-A INPUT -p icmp -j DROP",
        "-A INPUT -p icmp -m icmp --icmp-type 8 -j REJECT --reject-with icmp-port-unreachable",
        "-A OUTPUT -p ipv6-icmp -m icmp6 --icmpv6-type 129 -j DROP",
    ],
)
def test_rule_of_iptables_is_reported_unchanged(rule_: str) -> None:
    """With the number of the type, as iptables-save prints it, or without a type."""
    saved = SAVED.format(policy="ACCEPT", rules=f"-A INPUT -p tcp -j DROP\n{rule_}\n-A INPUT -p icmp -j ACCEPT")
    assert iptables_stops(saved, "iptables-legacy-save") == (f"iptables-legacy-save: {rule_}",)


def test_policy_of_iptables_is_reported_if_no_rule_accepts_echo() -> None:
    """A rule for another type does not count as accepting; one for ICMP or for everything does."""
    other = SAVED.format(policy="DROP", rules="-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT")
    assert iptables_stops(other, "x") == ("x: INPUT has the policy DROP, and no rule accepts ICMP echo",)
    for helps in ("-A INPUT -p icmp -j ACCEPT", "-A INPUT -j ACCEPT"):
        assert iptables_stops(SAVED.format(policy="DROP", rules=helps), "x") == ()
