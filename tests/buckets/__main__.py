"""`python -m tests.buckets`: run the tests of buckets in the environment that has their clients and moto's server."""

import subprocess
import sys

from tests.destinations.environments import python_of
from tests.support import REPOSITORY

command = [str(python_of("lake")), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
sys.exit(
    subprocess.run([*command, "tests/buckets", "--confcutdir=tests/buckets"], cwd=REPOSITORY, check=False).returncode
)
