# One image for every process of docker-compose.yml: the command says which one it is.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

# Dependencies change less often than code: a layer of their own.
COPY requirements.txt ./
RUN pip install -r requirements.txt

# Nothing here runs as root. A new volume that is mounted at /data takes this owner over.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin queuecast \
    && install -d -o queuecast -g queuecast /data

COPY pyproject.toml README.md Procfile ./
COPY queuecast ./queuecast
COPY registry ./registry
COPY workers ./workers
COPY api ./api
RUN pip install --no-deps --editable .

# By number, which orchestrators can tell from root without reading the image.
USER 10001
ENV QUEUECAST_DATA_DIR=/data
EXPOSE 8000

CMD ["queuecast", "web"]
