"""Build the static site: `python -m lib.site --profile pocket`."""

import argparse
import sys

from lib.profiles import PROFILES
from lib.site.build import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m lib.site", description=__doc__)
    parser.add_argument("--profile", default="pocket", choices=sorted(PROFILES))
    parser.add_argument("--mixer", nargs="*", metavar="TASK/ATTACK", help="what gets a merge mixer; default a few of pocket")
    arguments = parser.parse_args()
    sys.exit(main(arguments.profile, arguments.mixer))
