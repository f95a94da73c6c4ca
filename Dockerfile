# A small image of Litekeep that does not run as root: docker build -t litekeep .
#
# Every package is held to the hash in requirements/. As a sidecar: docs/docker.md.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /build
COPY requirements/build.txt requirements/runtime.txt ./
RUN python3 -m venv /opt/litekeep \
 && /opt/litekeep/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: -r runtime.txt \
 && python3 -m venv tools \
 && tools/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN tools/bin/python -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps \
      --no-build-isolation --wheel-dir wheels . \
 && /opt/litekeep/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps \
      wheels/*.whl \
 && /opt/litekeep/bin/python -m pip uninstall --yes --quiet pip

FROM ${BASE}
COPY --from=build /opt/litekeep /opt/litekeep
# Whoever it runs as may keep local state there.
RUN mkdir -p /var/lib/litekeep && chmod 1777 /var/lib/litekeep
ENV PATH=/opt/litekeep/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/litekeep \
    LITEKEEP_STATE=/var/lib/litekeep
USER 65532:65532
WORKDIR /var/lib/litekeep
ENTRYPOINT ["litekeep"]
