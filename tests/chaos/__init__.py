"""Runs that are killed: the pipeline in child processes, SIGKILL at every step, and the tables compared row by row.

`python -m tests.chaos --help`
"""
