"""How is a profile written that nobody has measured? Its head and its fits, beside its sources."""

from pathlib import Path

import yaml

from streamtwin.calibrate.digests import digests_of
from streamtwin.calibrate.fit_file import dump_fits
from streamtwin.calibrate.meta import META, Meta
from streamtwin.calibrate.profile import ASSUMPTIONS, FIGURES, FITS, Profile

SOURCES = (FIGURES, ASSUMPTIONS)
"""What a published profile follows from."""


def write_unmeasured(profile: Profile, folder: Path) -> None:
    """Write head and fits of *profile* into *folder*, beside the figures it follows from."""
    assert profile.provenance.kind != "measured"
    folder.mkdir(parents=True, exist_ok=True)
    meta = Meta(
        profile.name,
        profile.environment,
        profile.provenance,
        profile.requests,
        raw_times=0,
        sources_sha256=digests_of(folder, SOURCES if profile.figures else ()),
    )
    (folder / FITS).write_bytes(dump_fits(profile.fits) + b"\n")
    (folder / META).write_text(yaml.safe_dump(meta.as_dict(), sort_keys=False), "utf-8")
