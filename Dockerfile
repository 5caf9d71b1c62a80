# One image for every process of MarketPrism: the command chooses which (docker-compose.yml).
# It holds the embedded NATS and ClickHouse too, so it also runs on its own:
#   docker run --rm -it marketprism marketprism-collect --demo
# It writes to /data and /tmp alone, so it also runs as docker-compose.yml has it:
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges marketprism

FROM node:22-bookworm-slim AS web
WORKDIR /web
COPY python/marketprism/serve/web/package.json python/marketprism/serve/web/package-lock.json \
    python/marketprism/serve/web/.npmrc ./
RUN npm ci
COPY python/marketprism/serve/web ./
RUN npm run build

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints/build.txt constraints/
RUN python3 -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes -r constraints/build.txt
COPY . .
COPY --from=web /web/dist python/marketprism/serve/web/dist
# The wheel is abi3: built once here, it fits the newer Python below.
RUN /build/bin/maturin build --release --locked --out /wheels

FROM python:3.13-slim-bookworm
RUN groupadd --system --gid 10001 marketprism \
    && useradd --system --uid 10001 --gid marketprism --no-create-home marketprism \
    && install --directory --owner marketprism --group marketprism /data
COPY constraints/run.txt /tmp/run.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/run.txt && rm /tmp/run.txt
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps /wheels/*.whl
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER marketprism
WORKDIR /data
VOLUME /data
# Of what the container runs when it is told nothing else, the collector; docker-compose.yml says it
# anew for each service. 503 raises.
HEALTHCHECK --interval=30s --timeout=10s --retries=3 --start-period=60s --start-interval=2s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8087/health', timeout=8)"]
# Drains and exits within 10 s: docker run --stop-timeout 15.
STOPSIGNAL SIGTERM
CMD ["marketprism-collect", "--data-dir", "/data"]
