# The command `enrow`, in the locked versions: docker build --tag enrow-source . && docker run --rm enrow-source --help
FROM python:3.11-slim
WORKDIR /src
# Postgres, and queries for batch ids. For other destinations, lock their extra in the same way: `make lock`.
COPY requirements/image.txt requirements/
RUN pip install --no-cache-dir --require-hashes --requirement requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY enrow_source enrow_source
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --uid 10001 --no-create-home enrow \
    && install --directory --owner enrow /data
USER 10001
# The only folder that a run writes to: mount a volume here, and the rest can be read-only.
WORKDIR /data
ENV DLT_DATA_DIR=/data/dlt HOME=/data TMPDIR=/data
ENTRYPOINT ["enrow"]
