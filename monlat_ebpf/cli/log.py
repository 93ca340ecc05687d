"""The log of a long-running command: one line for each record, on standard error."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO


class OneLineFormatter(logging.Formatter):
    """Format a record as time in UTC, level, logger and message. Line breaks and tracebacks are escaped."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's time in UTC with milliseconds, in the format of RFC 3339."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line without a line break at its end."""
        return super().format(record).rstrip("\n").replace("\r", "\\r").replace("\n", "\\n")


def start_logging(level: str, stream: TextIO | None = None) -> None:
    """Log records of at least `level` (for example "info") to `stream`, by default standard error."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
