"""Build the static site: `python -m lib.site --profile pocket`."""

import argparse
import sys

from lib.profiles import PROFILES
from lib.site.build import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m lib.site", description=__doc__)
    parser.add_argument("--profile", default="pocket", choices=sorted(PROFILES))
    sys.exit(main(parser.parse_args().profile))
