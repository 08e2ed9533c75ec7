"""Load bulk phone searches: `dlt init enrow duckdb --location REPOSITORY` copies this file and the folder enrow.

In `.dlt/secrets.toml` set enrow_api_key, and delete the secrets that you do not use.
"""

import dlt
from enrow import run


def load_phone_results() -> None:
    """Load the batches whose ids are in `ids.txt`, and fetch again those that were ongoing."""
    pipeline = dlt.pipeline("enrow", destination="duckdb", dataset_name="enrow_data")
    print(run(pipeline=pipeline, batch_ids_file="ids.txt"))


if __name__ == "__main__":
    load_phone_results()
