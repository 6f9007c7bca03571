"""Make the shipped profiles that nobody measured anew: published figures first, then derived ones."""

from datetime import date
from pathlib import Path

from streamtwin.calibrate.derive import derive
from streamtwin.calibrate.locate import shipped_profiles
from streamtwin.calibrate.profile import FIGURES
from streamtwin.calibrate.published_profile import published_profile
from streamtwin.calibrate.unmeasured import write_unmeasured
from streamtwin.core import catalog

BASE, BASE_GPU = "h100-sxm-sdv2-paper", "h100-sxm"
"""The best base there is: a measured profile of that card takes its place once there is one."""

DERIVED = ("h200-sxm", "b200", "a100-sxm", "l40s", "rtx4090", "rtx5090")


def main(folder: Path, today: date) -> None:
    """Write all of them into *folder*, where the published ones have their sources."""
    for sources in sorted(path.parent for path in folder.glob(f"*/{FIGURES}")):
        write_unmeasured(published_profile(sources), sources)
    base = published_profile(folder / BASE)
    for gpu in DERIVED:
        catalog.gpu(gpu)
        derived = derive(base, BASE_GPU, gpu, today)
        write_unmeasured(derived, folder / derived.name)


if __name__ == "__main__":
    main(shipped_profiles(), date.today())
