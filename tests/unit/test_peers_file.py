"""The grammar of the peers file: what is accepted, and file, line and field of each error."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from monlat_ebpf.discovery.peers_file import parse as parse_list
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Peer


def peers_of(text: str, *, node_name: str = "") -> tuple[Peer, ...]:
    return parse_list(text, file="peers.yaml", node_name=node_name).peers


def error_of(text: str, *, node_name: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        peers_of(text, node_name=node_name)
    return str(caught.value)


def test_peers_are_in_the_order_of_the_file() -> None:
    """Name, addresses in their order, and zone."""
    assert peers_of(
        """
        - {name: node3, addresses: ["fd00::3", 10.0.0.3], zone: b}
        - name: node2
          addresses:
            - 10.0.0.2
        """
    ) == (
        Peer("node3", (ip_address("fd00::3"), ip_address("10.0.0.3")), "b"),
        Peer("node2", (ip_address("10.0.0.2"),), ""),
    )


@pytest.mark.parametrize("text", ["", "\n", "# nobody yet\n", "[]", "--- []\n", "~", "\ufeff"])
def test_empty_file_is_an_empty_list(text: str) -> None:
    """Every way to write no entries is legal."""
    assert peers_of(text) == ()


@pytest.mark.parametrize("name", ["1e3", "yes", "12", "0x10", "2026-01-01", "1:30"])
def test_names_are_texts_even_if_yaml_has_another_type(name: str) -> None:
    """A name that YAML would read as a number, a boolean or a date stays as written."""
    assert peers_of(f"- {{name: {name}, addresses: [10.0.0.2]}}")[0].name == name


def test_empty_zone_is_no_zone() -> None:
    """`zone:` without a value is the same as no field."""
    assert peers_of("- name: node2\n  addresses: [10.0.0.2]\n  zone:\n")[0].zone == ""


def test_this_node_is_omitted() -> None:
    """All nodes can share one file: the own entry is not a peer."""
    text = "- {name: node1, addresses: [10.0.0.1]}\n- {name: node2, addresses: [10.0.0.2]}\n"
    assert [peer.name for peer in peers_of(text, node_name="node1")] == ["node2"]


def test_this_nodes_own_entry_is_checked_like_the_others() -> None:
    """Otherwise one node would accept a file that another node rejects."""
    text = "- {name: node1, addresses: [10.0.0.2], size: 1}\n- {name: node2, addresses: [10.0.0.3]}\n"
    assert error_of(text, node_name="node1").startswith("peers.yaml:1: 'size': unknown field")


def test_address_of_two_nodes_belongs_to_the_first_by_name() -> None:
    """The other node keeps its other address, or is no peer without one; a warning names file and line of both."""
    text = """
- {name: c, addresses: [10.0.0.2]}
- name: b
  addresses:
  - "FD00:0::2"
  - 10.0.0.2
- {name: a, addresses: ["fd00::2"]}
"""
    for node in ("", "d"):
        listed = parse_list(text, file="peers.yaml", node_name=node)
        assert listed.peers == (Peer("b", (ip_address("10.0.0.2"),)), Peer("a", (ip_address("fd00::2"),)))
        assert listed.warnings == (
            "peers.yaml:2: addresses: 10.0.0.2 of 'c' belongs to 'b' on line 6, and is not probed for 'c'; "
            "give each node its own address",
            "peers.yaml:5: addresses: fd00::2 of 'b' belongs to 'a' on line 7, and is not probed for 'b'; "
            "give each node its own address",
        )


def test_own_addresses_are_those_of_this_nodes_entry() -> None:
    """Also one that it shares: that is where its probes leave from. Without an entry there are none."""
    text = "- {name: node1, addresses: [10.0.0.1]}\n- {name: node2, addresses: [10.0.0.1, 'fd00::1']}\n"
    listed = parse_list(text, file="peers.yaml", node_name="node2")
    assert listed.own_addresses == (ip_address("10.0.0.1"), ip_address("fd00::1"))
    assert parse_list(text, file="peers.yaml", node_name="node3").own_addresses == ()


def test_loopback_addresses_are_accepted() -> None:
    """127.0.0.0/8 and ::1 can be probed, to try monlat on one machine."""
    assert peers_of('- {name: a, addresses: [127.0.0.2, "::1"]}')[0].addresses == (
        ip_address("127.0.0.2"),
        ip_address("::1"),
    )


GOOD = "- {name: node2, addresses: [10.0.0.2]}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Of the wrong shape.
        ("node2: 10.0.0.2\n", "1: expected a list, found a mapping; begin each entry with `- `"),
        ("node2\n", "1: expected a list, found the text 'node2'; begin each entry with `- `"),
        (
            GOOD + "- node3\n",
            "2: expected a mapping with name and addresses, found the text 'node3'; "
            "write for example `- {name: node2, addresses: [10.0.0.2]}`",
        ),
        (
            GOOD + "-\n",
            "2: expected a mapping with name and addresses, found nothing; "
            "write for example `- {name: node2, addresses: [10.0.0.2]}`",
        ),
        (GOOD + "---\n" + GOOD, "2: a second document begins; write one list, without `---` in the middle"),
        ("- {? [a] : b}\n", "1: expected a field's name, found a list; the fields are name, addresses, zone"),
        # Fields.
        ("- name: node2\n  adresses: [10.0.0.2]\n", "2: 'adresses': unknown field; did you mean addresses?"),
        ("- Name: node2\n", "1: 'Name': unknown field; did you mean name?"),
        ("- name: node2\n  rack: 7\n", "2: 'rack': unknown field; the fields are name, addresses, zone"),
        ("- name: a\n  zone: b\n  name: c\n", "3: name: duplicate field, first on line 1; keep one"),
        # Names.
        (GOOD + "- addresses: [10.0.0.3]\n", "2: name: missing; add the node's name"),
        ("- name:\n  addresses: [10.0.0.2]\n", "1: name: '' is empty; give the node's name"),
        ("- name: [a]\n", "1: name: expected a text, found a list"),
        (
            f"-\n  name: {'n' * 254}\n",
            f"2: name: '{'n' * 60}…' is 254 bytes long, and a label holds 253 at most; give the node's name",
        ),
        ('- name: "a\\tb"\n', "1: name: 'a\\tb' holds U+0009, which does not print; give the node's name"),
        (
            GOOD + "\n- name: node2\n  addresses: [10.0.0.3]\n",
            "3: name: 'node2' is also on line 1; keep one entry per node",
        ),
        ("- {name: a, addresses: [10.0.0.2], zone: {b: c}}\n", "1: zone: expected a text, found a mapping"),
        (
            "- name: a\n  addresses: [10.0.0.2]\n  zone: ' b'\n",
            "3: zone: ' b' begins or ends with a space; give a short name or leave it out",
        ),
        # Addresses.
        ("- name: node2\n", "1: addresses: missing for 'node2'; add a list, as in [10.0.0.2]"),
        (
            "- name: node2\n  addresses: []\n",
            "2: addresses: empty for 'node2'; add one address, or one of each family",
        ),
        (
            "- name: node2\n  addresses: 10.0.0.2\n",
            "2: addresses: expected a list, found the text '10.0.0.2'; write [10.0.0.2]",
        ),
        ("- name: node2\n  addresses:\n", "2: addresses: expected a list, found nothing; write [10.0.0.2]"),
        (
            "- name: node2\n  addresses:\n  - 10.0.0.2\n  - 10.0.0\n",
            "4: addresses: '10.0.0' is not an IPv4 or IPv6 address; write for example 10.0.0.2 or \"fd00::2\"",
        ),
        (
            "- {name: node2, addresses: [node2.example.org]}\n",
            "1: addresses: 'node2.example.org' is a host name, and names are not resolved; give the address",
        ),
        (
            "- {name: node2, addresses: [10.0.0.0/24]}\n",
            "1: addresses: '10.0.0.0/24' is a network; give the node's address without the prefix length",
        ),
        (
            "- {name: node2, addresses: ['10.0.0.2:80']}\n",
            "1: addresses: '10.0.0.2:80' has brackets or a port; give the address alone",
        ),
        (
            "- {name: node2, addresses: ['[fd00::2]']}\n",
            "1: addresses: '[fd00::2]' has brackets or a port; give the address alone",
        ),
        (
            "- {name: node2, addresses: [~]}\n",
            '1: addresses: expected an address, found nothing; put IPv6 in quotes, as in "fd00::2"',
        ),
        (
            "- {name: node2, addresses: [224.0.0.1]}\n",
            "1: addresses: '224.0.0.1' is a multicast or broadcast address; give the node's own",
        ),
        (
            "- {name: node2, addresses: [ff02::1]}\n",
            "1: addresses: 'ff02::1' is a multicast or broadcast address; give the node's own",
        ),
        (
            "- {name: node2, addresses: [255.255.255.255]}\n",
            "1: addresses: '255.255.255.255' is a multicast or broadcast address; give the node's own",
        ),
        (
            "- {name: node2, addresses: [0.0.0.0]}\n",
            "1: addresses: '0.0.0.0' is the unspecified address; give the node's own",
        ),
        ("- {name: node2, addresses: ['::']}\n", "1: addresses: '::' is the unspecified address; give the node's own"),
        (
            "- {name: node2, addresses: [fe80::2]}\n",
            "1: addresses: 'fe80::2' is link-local; give an address that all nodes can reach",
        ),
        (
            "- {name: node2, addresses: ['fe80::2%eth0']}\n",
            "1: addresses: 'fe80::2%eth0' is link-local; give an address that all nodes can reach",
        ),
        (
            "- {name: node2, addresses: ['::ffff:10.0.0.2']}\n",
            "1: addresses: '::ffff:10.0.0.2' is an IPv4 address written as IPv6; write 10.0.0.2",
        ),
        (
            "- name: node2\n  addresses:\n  - 10.0.0.2\n  - fd00::2\n  - 10.0.0.3\n",
            "5: addresses: 10.0.0.2 and 10.0.0.3 are both ipv4; keep one of each family, the one to be measured",
        ),
    ],
)
def test_error_names_line_field_and_remedy(text: str, message: str) -> None:
    """The message begins with file and line."""
    assert error_of(text) == f"peers.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        (GOOD + "- name: [a\n", 3, "look for a missing quote, bracket, colon or space on this line or the one above"),
        ("- name: node2\n\taddresses: [10.0.0.2]\n", 2, "indent with spaces, not with tabs"),
        ("- name: node2\n  addresses: [::1]\n", 2, 'put an IPv6 address in quotes, as in "fd00::2"'),
        (
            GOOD + "- name: 'node3\n",
            3,
            "look for a missing quote, bracket, colon or space on this line or the one above",
        ),
    ],
)
def test_syntax_error_names_line_and_likely_remedy(text: str, line: int, remedy: str) -> None:
    """The YAML library's message is between the line and the remedy."""
    message = error_of(text)
    assert message.startswith(f"peers.yaml:{line}: not valid YAML: ")
    assert message.endswith(f"; {remedy}")


def test_control_character_is_an_error_with_its_line() -> None:
    """For a binary file or a stray NUL, the message names the character and its line."""
    assert error_of(GOOD + "- name: a\0b\n") == "peers.yaml:2: the character U+0000 is not allowed in YAML; remove it"


def test_alias_is_an_error() -> None:
    """Aliases can expand a few lines of YAML to a million."""
    assert error_of("- &a {name: node2, addresses: [10.0.0.2]}\n- *a\n") == (
        "peers.yaml:2: aliases such as *a are not supported; write the value itself"
    )


@pytest.mark.parametrize("opening", ["[", "{", "[ {", "- ", "{a: ", "? ", "[? "])
def test_deep_nesting_is_an_error(opening: str) -> None:
    """A hundred thousand levels give this message with every version of libyaml, and do not overrun its stack."""
    assert error_of(opening * 100_000) == (
        "peers.yaml:1: lists and mappings are nested more than 8 deep; an entry needs two levels"
    )


def test_brackets_in_a_text_are_not_nesting() -> None:
    """Nine brackets in quotes are part of a wrong name, in a comment they do not matter."""
    assert peers_of(f"# [[[[[[[[[\n{GOOD}") == (Peer("node2", (ip_address("10.0.0.2"),)),)
    assert "unknown field" in error_of('- "[[[[[[[[[": 7\n')


def test_entry_with_too_many_values_is_an_error() -> None:
    """Mapping, three keys, name, zone and list are 7 values, so address 58, on line 61, is value 65."""
    addresses = "".join(f"  - 10.0.{number >> 8 & 255}.{number & 255}\n" for number in range(1_000_000 // 16))
    assert error_of(f"- name: node2\n  zone: a\n  addresses:\n{addresses}") == (
        "peers.yaml:61: an entry has more than 64 values; begin each entry with `- `"
    )


def test_tags_are_ignored() -> None:
    """A tag that unsafe loaders would execute has no effect: only texts are built."""
    text = "- {name: !!python/object/apply:os.getcwd a, addresses: [10.0.0.2]}\n"
    assert peers_of(text) == (Peer("a", (ip_address("10.0.0.2"),), ""),)


def test_zone_of_this_nodes_own_entry_is_returned() -> None:
    """The entry is not a peer, but its zone is this node's zone."""
    text = "- {name: node1, addresses: [10.0.0.1], zone: a}\n- {name: node2, addresses: [10.0.0.2], zone: b}\n"
    listed = parse_list(text, file="peers.yaml", node_name="node1")
    assert [peer.name for peer in listed.peers] == ["node2"]
    assert listed.own_zone == "a"
    assert parse_list(text, file="peers.yaml", node_name="node3").own_zone == ""
