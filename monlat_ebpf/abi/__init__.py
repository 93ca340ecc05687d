"""Memory and formats agreed with the kernel program in `bpf/`.

layout      constants, structs and maps, read from the text of `bpf/monlat.h` and `bpf/maps.h`
probes      the table of probes in flight, and the counts of each target
sessions    what this node's and a peer's agent report to each other
peer_index  the hash table that finds the target of an address
echo        the echo request as bytes, and the names of ICMP errors
histogram   bucket edges, quantiles, classic buckets: pure
"""
