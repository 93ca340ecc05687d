"""monlat: the latency between every two nodes of a cluster, stamped by the kernel at the driver."""

from importlib.metadata import version

__version__ = version("monlat-ebpf")
