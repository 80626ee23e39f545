# searchd in one image: `searchd serve` by default, `indexer run` for workers (see docker-compose.yml).
# TORCH_INDEX picks the torch build: the CPU one unless the GPU override of the README names says otherwise.
FROM python:3.13-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

WORKDIR /app
RUN python -m pip install --index-url "${TORCH_INDEX}" "torch==2.13.*"
COPY pyproject.toml README.md LICENSE ./
COPY indexer indexer
COPY searchd searchd
COPY web web
COPY migrations migrations
RUN python -m pip install ".[server]" \
 && useradd --create-home --uid 10001 searchd \
 && install -d -o searchd -g searchd /data

USER searchd
ENV SEARCHD_DATA_DIR=/data SEARCHD_HOST=0.0.0.0 SEARCHD_PORT=8000 HF_HOME=/data/models
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["searchd", "serve"]
