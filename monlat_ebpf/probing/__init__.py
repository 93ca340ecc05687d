"""Sends the probes, resolves them, and keeps the counts.

prober      the loop, and the way in for other threads
sender      sends one probe
resolver    gives each probe its result
targets     which addresses are probed, and where each has its memory
ledger      the counts of one target: each probe ends in exactly one result
schedule    when each target is next due
nonces      the random nonces of probes
index_pool  which indexes of the table are free
feedback    what this node reports to its peers, and what it learns from their reports
one_way     clock offset and queueing from two unsynchronised clocks
snapshot    what is known of a target, as values
recent      one of the last probes, as a value
"""
