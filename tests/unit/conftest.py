"""Hypothesis tries the same examples in every run, without a time limit: the result depends on the code alone.

To look for new counterexamples, run: pytest tests/unit --hypothesis-profile=search
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("search", deadline=None, max_examples=5000)
settings.load_profile("repeatable")
