# One image for every process of docker-compose.yml: the command says which one it is.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

# Dependencies change less often than code: a layer of their own.
COPY requirements.txt ./
RUN pip install -r requirements.txt

# Nothing here runs as root. /data is a volume and keeps this owner.
RUN useradd --system --uid 10001 --no-create-home queuecast \
    && install -d -o queuecast -g queuecast /data

COPY pyproject.toml README.md ./
COPY registry ./registry
COPY workers ./workers
COPY api ./api
RUN pip install --no-deps --editable .

USER queuecast
ENV QUEUECAST_DATA_DIR=/data
VOLUME /data
EXPOSE 8000

CMD ["python", "-m", "api.serve"]
