"""The socket source: the kernel's own SO_TIMESTAMPING stamps, where the tracepoint source cannot be had.

    source     SocketSource: opens, sends, closes
    receiver   the thread and its passes over the sockets
    endpoint   the two sockets of a family, and what is read from them
    ancillary  the control messages that come with what is read
    filters    what the kernel lets through to the receiving sockets
    messages   replies and ICMP errors as bytes: pure
    recorder   what a stamp or message does to the table, by the rules of `bpf/core.h`: pure
    clock      wall-clock stamps on the monotonic clock: pure but for one function
    table      the memory, with a lock and the writes that the kernel program does by itself

A transmit stamp is taken by the driver as it takes the packet over (skb_tx_timestamp), a receive stamp as
the packet enters the stack: for drivers with NAPI a little later than the tracepoint source's.
https://docs.kernel.org/networking/timestamping.html describes both. Stamps of a network card's own clock
are not used: there was no such card to test them on.

A request whose driver does not stamp, or sees it only encrypted (a WireGuard tunnel), counts as not
transmitted: its reply is a reply, but without an RTT.
"""
