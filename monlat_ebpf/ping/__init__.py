"""`monlat ping`: one host, probed from here, the kernel's figure beside what user space saw.

resolve     the address of a host
user_space  icmplib, which sends the request and reads the answer as any program does
pinger      sends, waits, and yields what became of each probe
events      what it yields, and how the two views of a probe become one: pure
report      the sums at the end: pure
"""
