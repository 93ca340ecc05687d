"""The peers file's grammar: what is read, and the file:line and field of each refusal."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from monlat_ebpf.discovery.peers_file import parse as parse_list
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Peer


def peers_of(text: str, *, max_peers: int = 1000, node_name: str = "") -> tuple[Peer, ...]:
    return parse_list(text, file="peers.yaml", max_peers=max_peers, node_name=node_name).peers


def refusal(text: str, *, max_peers: int = 1000, node_name: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        peers_of(text, max_peers=max_peers, node_name=node_name)
    return str(caught.value)


def test_peers_come_in_the_order_of_the_file() -> None:
    """Name, addresses in their order, and zone are taken as they stand."""
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
def test_an_empty_file_is_an_empty_list(text: str) -> None:
    """No entry, in whatever way it is written, is no peer and no error."""
    assert peers_of(text) == ()


@pytest.mark.parametrize("name", ["1e3", "yes", "12", "0x10", "2026-01-01", "1:30"])
def test_names_are_texts_whatever_yaml_makes_of_them(name: str) -> None:
    """A node's name that looks like a number, a truth or a date stays as it is written."""
    assert peers_of(f"- {{name: {name}, addresses: [10.0.0.2]}}")[0].name == name


def test_an_empty_zone_is_no_zone() -> None:
    """`zone:` with nothing after it is as if it were not there."""
    assert peers_of("- name: node2\n  addresses: [10.0.0.2]\n  zone:\n")[0].zone == ""


def test_this_node_is_left_out_by_name() -> None:
    """All nodes may share one file: one's own entry is no peer."""
    text = "- {name: node1, addresses: [10.0.0.1]}\n- {name: node2, addresses: [10.0.0.2]}\n"
    assert [peer.name for peer in peers_of(text, node_name="node1")] == ["node2"]


def test_this_nodes_own_entry_is_checked_like_the_others() -> None:
    """A file that is wrong is wrong on every node, else one node would follow it and another not."""
    text = "- {name: node1, addresses: [10.0.0.2]}\n- {name: node2, addresses: [10.0.0.2]}\n"
    assert refusal(text, node_name="node1") == (
        "peers.yaml:2: addresses: 10.0.0.2 of 'node2' belongs to 'node1' on line 1; an address is one node's"
    )


def test_loopback_is_an_address() -> None:
    """127.0.0.0/8 and ::1 can be probed, for a try on one machine."""
    assert peers_of('- {name: a, addresses: [127.0.0.2, "::1"]}')[0].addresses == (
        ip_address("127.0.0.2"),
        ip_address("::1"),
    )


def test_as_many_peers_as_allowed_without_this_node() -> None:
    """Three peers and the node itself pass a limit of three; a fourth peer is refused where it stands."""
    text = "".join(f"- {{name: node{number}, addresses: [10.0.0.{number}]}}\n" for number in range(1, 5))
    assert len(peers_of(text, max_peers=3, node_name="node1")) == 3
    assert refusal(text, max_peers=3) == (
        "peers.yaml:4: this is peer 4, and at most 3 are allowed; "
        "shorten the list or raise --max-peers (MONLAT_MAX_PEERS)"
    )


GOOD = "- {name: node2, addresses: [10.0.0.2]}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Of the wrong shape.
        ("node2: 10.0.0.2\n", "1: a list is expected, and here is a mapping; begin each entry with `- `"),
        ("node2\n", "1: a list is expected, and here is the text 'node2'; begin each entry with `- `"),
        (
            GOOD + "- node3\n",
            "2: an entry is a mapping with name and addresses, and here is the text 'node3'; "
            "write for example `- {name: node2, addresses: [10.0.0.2]}`",
        ),
        (
            GOOD + "-\n",
            "2: an entry is a mapping with name and addresses, and here is nothing; "
            "write for example `- {name: node2, addresses: [10.0.0.2]}`",
        ),
        (GOOD + "---\n" + GOOD, "2: a second document begins; keep one list, without `---` in the middle"),
        ("- {? [a] : b}\n", "1: a field's name is expected, and here is a list; an entry has name, addresses, zone"),
        # Fields.
        ("- name: node2\n  adresses: [10.0.0.2]\n", "2: 'adresses': unknown field; did you mean addresses?"),
        ("- Name: node2\n", "1: 'Name': unknown field; did you mean name?"),
        ("- name: node2\n  rack: 7\n", "2: 'rack': unknown field; an entry has name, addresses, zone"),
        ("- name: a\n  zone: b\n  name: c\n", "3: name: stands twice in one entry, first on line 1; keep one"),
        # Names.
        (GOOD + "- addresses: [10.0.0.3]\n", "2: name: is missing; give the node's name"),
        ("- name:\n  addresses: [10.0.0.2]\n", "1: name: '' is empty; give the node's name"),
        ("- name: [a]\n", "1: name: a text is expected, and here is a list"),
        (
            f"-\n  name: {'n' * 254}\n",
            f"2: name: '{'n' * 60}…' is 254 bytes long, and a label holds 253 at most; give the node's name",
        ),
        ('- name: "a\\tb"\n', "1: name: 'a\\tb' holds U+0009, which does not print; give the node's name"),
        (
            GOOD + "\n- name: node2\n  addresses: [10.0.0.3]\n",
            "3: name: 'node2' stands on line 1 as well; keep one entry a node",
        ),
        ("- {name: a, addresses: [10.0.0.2], zone: {b: c}}\n", "1: zone: a text is expected, and here is a mapping"),
        (
            "- name: a\n  addresses: [10.0.0.2]\n  zone: ' b'\n",
            "3: zone: ' b' begins or ends with a space; give a short name or leave it out",
        ),
        # Addresses.
        ("- name: node2\n", "1: addresses: is missing for 'node2'; give a list, as in [10.0.0.2]"),
        (
            "- name: node2\n  addresses: []\n",
            "2: addresses: is empty for 'node2'; give one address, or one of each family",
        ),
        (
            "- name: node2\n  addresses: 10.0.0.2\n",
            "2: addresses: a list is expected, and here is the text '10.0.0.2'; write [10.0.0.2]",
        ),
        ("- name: node2\n  addresses:\n", "2: addresses: a list is expected, and here is nothing; write [10.0.0.2]"),
        (
            "- name: node2\n  addresses:\n  - 10.0.0.2\n  - 10.0.0\n",
            "4: addresses: '10.0.0' is no IPv4 or IPv6 address; write for example 10.0.0.2 or \"fd00::2\"",
        ),
        (
            "- {name: node2, addresses: [node2.example.org]}\n",
            "1: addresses: 'node2.example.org' is a host name; "
            "give the address that it stands for, names are not looked up",
        ),
        (
            "- {name: node2, addresses: [10.0.0.0/24]}\n",
            "1: addresses: '10.0.0.0/24' is a network; give the node's address without the prefix length",
        ),
        (
            "- {name: node2, addresses: ['10.0.0.2:80']}\n",
            "1: addresses: '10.0.0.2:80' has brackets or a port; an echo has no port, give the address alone",
        ),
        (
            "- {name: node2, addresses: ['[fd00::2]']}\n",
            "1: addresses: '[fd00::2]' has brackets or a port; an echo has no port, give the address alone",
        ),
        (
            "- {name: node2, addresses: [~]}\n",
            '1: addresses: an address is expected, and here is nothing; put IPv6 in quotes, as in "fd00::2"',
        ),
        (
            "- {name: node2, addresses: [224.0.0.1]}\n",
            "1: addresses: '224.0.0.1' is the address of many; give the node's own",
        ),
        (
            "- {name: node2, addresses: [ff02::1]}\n",
            "1: addresses: 'ff02::1' is the address of many; give the node's own",
        ),
        (
            "- {name: node2, addresses: [255.255.255.255]}\n",
            "1: addresses: '255.255.255.255' is the address of many; give the node's own",
        ),
        (
            "- {name: node2, addresses: [0.0.0.0]}\n",
            "1: addresses: '0.0.0.0' is the address of none; give the node's own",
        ),
        ("- {name: node2, addresses: ['::']}\n", "1: addresses: '::' is the address of none; give the node's own"),
        (
            "- {name: node2, addresses: [fe80::2]}\n",
            "1: addresses: 'fe80::2' means another node on every link; give an address that all nodes can reach",
        ),
        (
            "- {name: node2, addresses: ['fe80::2%eth0']}\n",
            "1: addresses: 'fe80::2%eth0' means another node on every link; give an address that all nodes can reach",
        ),
        (
            "- {name: node2, addresses: ['::ffff:10.0.0.2']}\n",
            "1: addresses: '::ffff:10.0.0.2' is an IPv4 address written as IPv6; write 10.0.0.2",
        ),
        (
            "- name: node2\n  addresses:\n  - 10.0.0.2\n  - fd00::2\n  - 10.0.0.3\n",
            "5: addresses: 10.0.0.2 and 10.0.0.3 are both ipv4; "
            "keep one of each family, the one that the others shall measure",
        ),
        (
            '- {name: a, addresses: ["fd00::2"]}\n- {name: b, addresses: ["FD00:0::2"]}\n',
            "2: addresses: fd00::2 of 'b' belongs to 'a' on line 1; an address is one node's",
        ),
    ],
)
def test_a_wrong_entry_is_refused_with_line_and_field(text: str, message: str) -> None:
    """The message begins with file and line, and names the field and the remedy."""
    assert refusal(text) == f"peers.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        (GOOD + "- name: [a\n", 3, "look for a missing quote, bracket, colon or space here or just above"),
        ("- name: node2\n\taddresses: [10.0.0.2]\n", 2, "YAML indents with spaces, not with tabs"),
        ("- name: node2\n  addresses: [::1]\n", 2, 'an IPv6 address stands in quotes, as in "fd00::2"'),
        (GOOD + "- name: 'node3\n", 3, "look for a missing quote, bracket, colon or space here or just above"),
    ],
)
def test_a_syntax_error_is_refused_with_line_and_likely_mend(text: str, line: int, remedy: str) -> None:
    """What the YAML library says stands between the line and what most likely remedies it."""
    message = refusal(text)
    assert message.startswith(f"peers.yaml:{line}: this is no YAML: ")
    assert message.endswith(f"; {remedy}")


def test_a_control_character_is_refused_with_its_line() -> None:
    """A binary file, or a stray NUL, is named by the character and its line."""
    assert refusal(GOOD + "- name: a\0b\n") == "peers.yaml:2: the character U+0000 cannot stand in YAML; take it out"


def test_an_alias_is_refused() -> None:
    """Aliases are how few lines of YAML become a million: none is followed."""
    assert refusal("- &a {name: node2, addresses: [10.0.0.2]}\n- *a\n") == (
        "peers.yaml:2: aliases like *a are not read; write the value out"
    )


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
def test_deep_nesting_is_refused_before_it_hurts(opening: str) -> None:
    """A hundred thousand levels end at the ninth, without a stack overrun in the C library."""
    assert refusal(opening * 100_000) == (
        "peers.yaml:1: lists and mappings are nested more than 8 deep; an entry needs two levels"
    )


def test_an_entry_of_a_million_values_is_refused_before_it_costs() -> None:
    """Mapping, three keys, name, zone and list are 7 values, so that address 58, on line 61, is value 65."""
    addresses = "".join(f"  - 10.0.{number >> 8 & 255}.{number & 255}\n" for number in range(1_000_000 // 16))
    assert refusal(f"- name: node2\n  zone: a\n  addresses:\n{addresses}") == (
        "peers.yaml:61: one entry holds more than 64 values; begin each entry with `- `"
    )


def test_a_tag_is_no_code() -> None:
    """A tag that unsafe loaders would call is ignored: nothing is constructed but texts."""
    text = "- {name: !!python/object/apply:os.getcwd a, addresses: [10.0.0.2]}\n"
    assert peers_of(text) == (Peer("a", (ip_address("10.0.0.2"),), ""),)


def test_zone_of_this_nodes_own_entry_is_told() -> None:
    """The entry that is left out of the peers still says where this node stands."""
    text = "- {name: node1, addresses: [10.0.0.1], zone: a}\n- {name: node2, addresses: [10.0.0.2], zone: b}\n"
    listed = parse_list(text, file="peers.yaml", max_peers=2, node_name="node1")
    assert [peer.name for peer in listed.peers] == ["node2"]
    assert listed.own_zone == "a"
    assert parse_list(text, file="peers.yaml", max_peers=2, node_name="node3").own_zone == ""
