"""The errors that a user sees.

The tree of exceptions, with the exit status of a command that ends with one:

    MonlatError
    +-- ConfigError         a flag, a variable or a file has a wrong value       exit status 2
    +-- StartError          the machine lacks what monlat needs to run           exit status 1
    +-- SourceError         a timestamp source does not work on this machine     exit status 1
    +-- Unreachable         nobody answers a command                             exit status 1
    |   +-- AgentUnreachable      no agent does
    |   +-- CollectorUnreachable  no collector does; `diagnose`: exit status 2
    +-- UnknownPeer         a command asks for a peer that is not measured       exit status 2
    +-- RouteError          the kernel has no route to an address                exit status 1
    +-- TestbedError        namespaces or links cannot be made                   exit status 1
"""

from __future__ import annotations


class MonlatError(Exception):
    """An error whose text tells the user what is wrong, where, and how to fix it."""

    exit_status = 1


class ConfigError(MonlatError):
    """A flag, a variable or a file has a wrong value."""

    exit_status = 2


class StartError(MonlatError):
    """The machine lacks what monlat needs to run: the byte order, memory, threads or descriptors."""


class SourceError(MonlatError):
    """A timestamp source does not work on this machine."""


class Unreachable(MonlatError):
    """Nobody answers a command."""


class AgentUnreachable(Unreachable):
    """No agent answers a command."""


class CollectorUnreachable(Unreachable):
    """No collector answers a command."""


class UnknownPeer(MonlatError):
    """A command asks for a peer that the agent does not measure."""

    exit_status = 2


class RouteError(MonlatError):
    """The kernel has no route to an address."""


class TestbedError(MonlatError):
    """Namespaces or links cannot be made."""

    __test__ = False  # pytest must not collect it, although its name begins with Test
