"""Paths between the agent's namespace and a peer: one function builds one path.

Many paths share the agent's namespace, so that one kernel program measures all of them at once.
"""
