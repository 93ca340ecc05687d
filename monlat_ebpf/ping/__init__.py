"""`monlat ping`: probes one host, and shows what the kernel measured beside what user space saw.

resolve     the address of a host
user_space  icmplib, which reads the answers as any program does
pinger      runs a Prober with one target, and yields what became of each probe
events      what it yields, and how two views of a probe become one: pure
report      the summary at the end: pure
"""
