"""The socket source: the kernel's own SO_TIMESTAMPING stamps, for machines that refuse the tracepoint source.

    source     SocketSource: opens, sends, closes
    receiver   the thread, and its passes over the sockets
    endpoint   the two sockets of a family, and how they are read
    ancillary  the control messages that come with packets
    filters    which packets the kernel passes to the receiving sockets
    messages   replies and ICMP errors, parsed from bytes: pure
    recorder   what a stamp or message does to the table, by the rules of `bpf/core.h`: pure
    table      the memory, with a lock and the writes that the kernel program does by itself

`host.wall_clock` converts the stamps, which are of the wall clock, to the monotonic clock of the table.

The driver takes a transmit stamp when it receives the packet from the stack (skb_tx_timestamp). The kernel takes a
receive stamp when the packet enters the stack; for drivers with NAPI that is a little later than the tracepoint
source's stamp. https://docs.kernel.org/networking/timestamping.html describes both. Stamps of a network card's own
clock are not used, because there was no such card to test them on.

A request counts as not transmitted if its driver does not stamp, or sees it only encrypted (a WireGuard tunnel). Its
reply counts as a reply, but has no RTT.
"""
