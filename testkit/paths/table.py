"""All paths, in the order of the README's table."""

from __future__ import annotations

from typing import Final

from testkit.paths import devices, modules, redirects, routes  # noqa: F401 (each of them enters its paths)
from testkit.paths.ground import ALL, DEAD, OF_MODULES, Path

HERE: Final[tuple[Path, ...]] = tuple(ALL)
"""Those of a kernel without modules."""

ELSEWHERE: Final[tuple[Path, ...]] = tuple(OF_MODULES)
"""Those that need modules of a distribution's kernel."""

SILENT: Final[tuple[Path, ...]] = tuple(DEAD)
"""Those whose late ICMP errors match no probe."""
