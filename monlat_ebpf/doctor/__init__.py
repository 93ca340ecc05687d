"""`monlat doctor`: checks whether an agent can measure on this machine, and says what is missing.

facts           what was found on this machine: plain values
gather          collects the facts; the only part that touches the machine
destinations    which addresses beyond this host are probed: pure
trial           opens a source and probes this host, and other addresses, with it
firewall        finds rules that stop ICMP echo in the output of nft and iptables: pure
check           Check, Status: pure
kernel_checks   checks of what driver-level measuring needs: pure
path_checks     checks of who stamps the replies of other addresses: pure
network_checks  checks of echo replies, firewall and port: pure
checks          all checks, in the order of the output: pure
"""
