"""What ends at the end of a block, and also when it cannot begin."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Ended:
    """A context manager that calls `_begin`, and at last `_end`: also when `_begin` raises."""

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._end()
