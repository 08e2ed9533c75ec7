"""What is compared: each module is a process of its own, `python -m benchmarks.competitors.NAME URL IDS_FILE DATABASE`.

URL is the API, IDS_FILE has a batch id on each line, DATABASE is the DuckDB file or the URL of the Postgres to load
into. The working directory is the run's own: dlt keeps its working files there, and reads `.dlt/config.toml` if there
is one.
"""
