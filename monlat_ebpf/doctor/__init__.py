"""`monlat doctor`: can an agent measure here, and if not, what is missing.

facts      what was found on this machine: values, no diagnoses
gather     looks at the machine; the only part that does
trial      opens a source for real and measures this host with it
firewall   rules that stop ICMP echo, in the words of nft and iptables: pure
check      Check, Status: pure
measuring  checks of what driver-level measuring takes: pure
answering  checks of what else an agent and its peers meet: pure
examine    all checks, in the order of the output: pure
"""
