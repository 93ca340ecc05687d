"""What ends at the end of a block, and also when it cannot begin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Ended(ABC):
    """A context manager that calls `_begin`, and at last `_end`: also when `_begin` raises."""

    @abstractmethod
    def _begin(self) -> None:
        """Start it."""

    @abstractmethod
    def _end(self) -> None:
        """End it, begun or not."""

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._end()
