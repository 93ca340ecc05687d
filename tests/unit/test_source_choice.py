"""What is checked before any source is opened."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.sources import Sending, SourceChoice
from monlat_ebpf.sources.choice import open_source


@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77", "0.0.0.0", "::", "224.0.0.1"])
def test_source_address_of_another_host_is_a_configuration_error(address: str) -> None:
    """Addresses of documentation (RFC 5737, RFC 3849), the unspecified ones and groups are no host's own."""
    sending = Sending(addresses=(ip_address("127.0.0.1"), ip_address(address)))
    with pytest.raises(ConfigError) as caught:
        open_source(SourceChoice.AUTO, TableSize(1), sending=sending)
    assert str(caught.value) == (
        f"--source-address (MONLAT_SOURCE_ADDRESS): {address} is no address of this host, or not usable yet; give one "
        "that `ip address` shows here"
    )
