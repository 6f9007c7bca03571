"""Draw the answers of the shipped scenarios that have variants, for docs/answers.md."""

import sys
from pathlib import Path

from streamtwin.cli.predict import plan_of, predict, read_clip
from streamtwin.cli.profiles import profile_of
from streamtwin.core.library import find_variants, shipped_names
from streamtwin.reports.figures.variants import variants_svg
from streamtwin.reports.variants import Variant, variant_of
from streamtwin.runtime.run import motion_trace


def main(folder: Path) -> None:
    """Write one SVG a scenario into *folder*; those about this host are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in shipped_names():
        variants = find_variants(name)
        asked = next(iter(variants.values()))
        if asked.variants and asked.profile != "host":
            drawn = [_variant(label, name) for label in variants]
            (folder / f"{name}.svg").write_text(variants_svg(drawn))


def _variant(label: str, name: str) -> Variant:
    scenario = find_variants(name)[label]
    profile = profile_of(scenario)
    plan = plan_of(scenario, profile)
    motion = motion_trace(read_clip(scenario, None), plan)
    return variant_of(label, *predict(plan, profile, motion))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
