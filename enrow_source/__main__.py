"""`python -m enrow_source`: the command `enrow`, also where the folder is vendored."""

import sys

from .cli import main

sys.exit(main())
