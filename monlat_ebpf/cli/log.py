"""The log of a long-running command: one line a record, on standard error."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO


class OneLineFormatter(logging.Formatter):
    """Time in UTC, level, logger, message; line breaks of a message or a traceback are written as backslash and n."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's time in UTC to the millisecond, as RFC 3339 has it."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, without its line break."""
        return super().format(record).rstrip("\n").replace("\r", "\\r").replace("\n", "\\n")


def start_logging(level: str, stream: TextIO | None = None) -> None:
    """Log records of `level` ("info") and above to `stream`, standard error unless given."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
