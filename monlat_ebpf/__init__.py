"""monlat: the latency between every two nodes of a cluster, stamped by the kernel at the driver.

The rooms, from top to bottom. A room imports only rooms below it; rooms on one line do not import each other.
import-linter enforces this (pyproject.toml, scripts/test).

- `cli`: the commands. They read flags and print.
- `agent`, `collector`: the parts of an agent, connected: discovery, prober, HTTP server; the answers of all agents,
  joined and served with a page.
- `ping`, `doctor`, `testbed`: what these commands do. The test bed is the virtual network of `demo`.
- `exposition`, `discovery`: the results, as metrics and JSON over HTTP; the peers, from a file or from Kubernetes.
- `diagnosis`: what is broken in the cluster, from what all agents measured. Beside the two above.
- `config`: the settings of an agent, checked.
- `probing`: when to probe whom, and what became of each probe.
- `sources`: send probes and stamp packets, with eBPF tracepoints or with socket time stamps.
- `abi`, `host`: formats and tables shared with `bpf/`; this machine's clock, addresses, routes and privileges.
- `model`, `config_text`, `yaml_items`: the types that rooms share, the checks of texts and names, YAML with its lines.
- `errors`: the exceptions.

Each third-party library has one front door, the module that may import it. `pyroute2` has two: `host.addresses` reads
addresses and routes, `testbed.links` makes links. `testkit` and `tests` import the package, never the reverse. Large
libraries (`bcc`, `kubernetes`, `pyroute2`, `icmplib`, `rich`) are imported where they are first used, to save memory.
"""

from importlib.metadata import version

__version__ = version("monlat-ebpf")
