"""What can go wrong, as a user sees it.

The tree of exceptions, and the exit status of a command that ends with one:

    MonlatError
    +-- ConfigError         a flag, a variable or a file says what cannot be     exit status 2
    +-- SourceError         a timestamp source cannot be had on this machine     exit status 1
    +-- AgentUnreachable    a command found no agent to ask                      exit status 1
    +-- UnknownPeer         a command asks for a peer that the agent has not     exit status 2
    +-- RouteError          the kernel has no route to an address                exit status 1
    +-- TestbedError        namespaces or links cannot be made                   exit status 1
"""

from __future__ import annotations


class MonlatError(Exception):
    """An error whose text is for the user: what, where, and how to fix it."""

    exit_status = 1


class ConfigError(MonlatError):
    """A flag, a variable or a file says what cannot be."""

    exit_status = 2


class SourceError(MonlatError):
    """A timestamp source cannot be had on this machine."""


class AgentUnreachable(MonlatError):
    """A command found no agent to ask."""


class UnknownPeer(MonlatError):
    """A command asks for a peer that the agent does not measure."""

    exit_status = 2


class RouteError(MonlatError):
    """The kernel has no route to an address."""


class TestbedError(MonlatError):
    """Namespaces or links cannot be made."""

    __test__ = False  # the name is no test's, whatever pytest thinks
