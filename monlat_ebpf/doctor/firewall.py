"""Finds firewall rules that stop ICMP echo, in the output of nft and iptables-save: pure.

A rule counts if it matches ICMP and drops or rejects, whatever its other conditions are. A policy of drop counts if no
rule of the table accepts ICMP echo. Whether packets actually reach the rule is not analysed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_ECHO: Final = frozenset({"echo-request", "echo-reply"})
_ICMP_NAMES: Final = frozenset({"icmp", "ipv6-icmp", "icmpv6"})
_TYPE_FIELDS: Final = frozenset({("icmp", "type"), ("icmpv6", "type")})
_PROTOCOL_FIELDS: Final = frozenset({("ip", "protocol"), ("ip6", "nexthdr")})
_STOPPING: Final = ("drop", "reject")
_POLICY_HOOKS: Final = ("input", "output")
_LEGACY_RULE: Final = re.compile(r"-A (?P<chain>\S+) (?P<match>.*)-j (?P<target>\S+)")
_LEGACY_POLICY: Final = re.compile(r":(?P<chain>INPUT|OUTPUT) DROP\b")
_LEGACY_ICMP: Final = re.compile(r"-p (?:icmp|ipv6-icmp|icmpv6)\b")
_LEGACY_TYPE: Final = re.compile(r"--icmp(?:v6)?-type (?P<type>\S+)")
_LEGACY_ECHO: Final = frozenset({"8", "0", "128", "129", "any", *_ECHO})


def nft_stops(ruleset: str) -> tuple[str, ...]:
    """Return what stops ICMP echo in the JSON of `nft -j list ruleset`. Raises ValueError for any other text."""
    try:
        items: Sequence[Mapping[str, Any]] = json.loads(ruleset)["nftables"]
    except (KeyError, TypeError) as error:
        raise ValueError("not a ruleset") from error
    rules = [item["rule"] for item in items if "rule" in item]
    found = []
    for rule in rules:
        verdict = _verdict(_expressions(rule))
        if verdict in _STOPPING and _matches_echo(_expressions(rule)):
            found.append(
                f"nft: a rule of chain {_chain_name(rule, rule['chain'])} (handle {rule['handle']}) says {verdict}"
            )
    admitting = {
        (rule["family"], rule["table"])
        for rule in rules
        if _verdict(_expressions(rule)) == "accept"
        and (_matches_echo(_expressions(rule)) or not _has_condition(_expressions(rule)))
    }
    for chain in (item["chain"] for item in items if "chain" in item):
        if chain.get("policy") != "drop" or chain.get("hook") not in _POLICY_HOOKS:
            continue
        if (chain["family"], chain["table"]) not in admitting:
            found.append(
                f"nft: chain {_chain_name(chain, chain['name'])} has the policy drop, and no rule accepts ICMP echo"
            )
    return tuple(found)


def iptables_stops(rules: str, program: str) -> tuple[str, ...]:
    """Return what stops ICMP echo in the output of `program`: iptables-save or ip6tables-save."""
    found, policies, admitted = [], [], False
    for line in rules.splitlines():
        if policy := _LEGACY_POLICY.match(line):
            policies.append(policy["chain"])
        rule = _LEGACY_RULE.match(line)
        if rule is None:
            continue
        icmp = _LEGACY_ICMP.search(rule["match"])
        kind = _LEGACY_TYPE.search(rule["match"])
        if icmp and (kind is None or kind["type"] in _LEGACY_ECHO):
            admitted |= rule["target"] == "ACCEPT"
            if rule["target"].lower() in _STOPPING:
                found.append(f"{program}: {line}")
        elif not rule["match"].strip():
            admitted |= rule["target"] == "ACCEPT"
    if not admitted:
        found += [f"{program}: {chain} has the policy DROP, and no rule accepts ICMP echo" for chain in policies]
    return tuple(found)


def _expressions(rule: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [expression for expression in rule.get("expr", ()) if isinstance(expression, Mapping)]


def _chain_name(thing: Mapping[str, Any], chain: str) -> str:
    return f"{thing['family']} {thing['table']} {chain}"


def _verdict(expressions: Sequence[Mapping[str, Any]]) -> str:
    """Return the verdict of a rule: drop, reject, accept, or "" for anything else."""
    for expression in expressions:
        for verdict in (*_STOPPING, "accept"):
            if verdict in expression:
                return verdict
        target = expression.get("xt")  # how iptables-nft writes targets that nft does not have
        if target and target.get("type") == "target" and target.get("name") == "REJECT":
            return "reject"
    return ""


def _matches(expressions: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for expression in expressions:
        if "match" in expression:
            yield expression["match"]


def _has_condition(expressions: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a rule matches only some packets."""
    return any("match" in expression or "xt" in expression for expression in expressions)


def _matches_echo(expressions: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a rule matches ICMP and, if it names ICMP types, one of those of echo."""
    named = False
    for match in _matches(expressions):
        if match["op"] not in ("==", "in"):
            continue
        field, values = _field(match["left"]), _values(match["right"])
        if field in _TYPE_FIELDS:
            if not values & _ECHO:
                return False
            named = True
        elif (field in _PROTOCOL_FIELDS or field == ("meta", "l4proto")) and values & _ICMP_NAMES:
            named = True
    return named


def _field(left: Any) -> tuple[str, str]:
    if isinstance(left, Mapping):
        if "payload" in left:
            return left["payload"].get("protocol", ""), left["payload"].get("field", "")
        if "meta" in left:
            return "meta", left["meta"].get("key", "")
    return "", ""


def _values(right: Any) -> frozenset[str]:
    values = right.get("set", ()) if isinstance(right, Mapping) else right if isinstance(right, list) else [right]
    return frozenset(value for value in values if isinstance(value, str))
