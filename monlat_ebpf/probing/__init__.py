"""Sends the probes, decides how each ended, and keeps the account.

prober      the loop: send, resolve
targets     which addresses are probed
ledger      the account of one target: each probe ends in exactly one result
schedule    when each target is next due
index_pool  which indexes of the table are free
feedback    what this node reports to its peers, and what it learns from their reports
one_way     clock offset and queueing from two unsynchronised clocks
recent      the last probes of a target, one by one
"""
