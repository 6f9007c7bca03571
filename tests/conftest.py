"""Property tests draw the same examples in every run, so that a failure belongs to a change.

`STREAMTWIN_EXPLORE=1` draws new ones, and more of them.
"""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", max_examples=500, deadline=None)
settings.load_profile("explore" if os.environ.get("STREAMTWIN_EXPLORE") else "repeatable")
