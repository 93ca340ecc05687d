"""Virtual networks on this machine, for `monlat demo`.

namespace  Namespace: a network namespace that ends with the process that created it
links      Links: veth pairs, bridges and addresses inside a namespace
network    Cluster: N nodes on one bridge
damage     Damage: packets between some of them are lost, or late; relay delays them
syscalls   unshare and setns
"""
