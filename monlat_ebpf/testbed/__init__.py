"""Networks on one machine: namespaces, links and a reflector, for `monlat demo` and for the tests.

    namespace   Namespace: a network namespace that ends with the process that made it
    links       Links: veth, bridge, VLAN, bond, addresses, routes and queues inside a namespace
    network     Cluster: N nodes on one bridge; Pair: two nodes on one wire
    device      RawDevice: a TUN or TAP device, whose wire is a descriptor; injects packets
    reflector   Reflector: answers echo requests after an exact delay, and notes when it did
    plan        Plan, Rule, Record: which request meets which action, and the truth about what was done
    emulated_peer      EmulatedPeer: what the reflector tells of its answers, as a peer's agent does
    actions     what the reflector may do with a request: Answer, Drop, Double, IcmpError, ...
    packets     IPv4, IPv6 and ICMP as bytes

Nothing is imported here: the reflector's own process must stay small.
"""
