"""What is compared: each module is a process of its own, `python -m benchmarks.contenders.NAME URL IDS_FILE FILE`.

URL is the API, IDS_FILE has a batch id on each line, FILE is the DuckDB database to load into. The working directory
is the run's own: dlt keeps its working files in `dlt` there, and reads `.dlt/config.toml` if there is one.
"""
