"""What makes dlt runs in a process of tests a third cheaper, and changes nothing that they do.

PYTEST_DONT_REWRITE: there are no assertions here.
"""

import gc
from functools import cache

from dlt.common.configuration.providers import environ
from dlt.common.configuration.specs.base_configuration import is_secret_hint


def make_runs_quicker() -> None:
    """Collect garbage less often, and keep what dlt finds out of a type.

    A collection looks at every object of dlt, pyarrow and pandas, which stay. And dlt looks some 5,000 times in each
    run whether an option is set in the environment, and each time works out of the option's type whether it is a
    secret.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    setattr(environ, "is_secret_hint", cache(is_secret_hint))  # noqa: B010 - it is typed as a function
