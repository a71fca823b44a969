# One image for node and operator. The engine is compiled in the first stage; the second has no compiler.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && (python3 -c 'import sysconfig, pathlib; pathlib.Path(sysconfig.get_paths()["include"], "Python.h").read_bytes()' \
     || apt-get install -y --no-install-recommends python3-dev)
WORKDIR /src
COPY requirements.lock requirements-dev.lock ./
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-dev.lock \
 && python3 -m venv /opt/orderbook \
 && /opt/orderbook/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY node node
COPY operator operator
RUN PATH=/opt/build/bin:$PATH /opt/build/bin/python hatch_build.py --require \
 && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/orderbook/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
 && /opt/orderbook/bin/python -m compileall -q /opt/orderbook

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/orderbook /opt/orderbook
ENV PATH=/opt/orderbook/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORDERBOOK_DATA=/data \
    ORDERBOOK_HOST=0.0.0.0
RUN mkdir /data && chown 10001:10001 /data
USER 10001:10001
VOLUME /data
EXPOSE 7400 8443 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["/opt/orderbook/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/livez', timeout=2)"]
ENTRYPOINT ["orderbook"]
CMD ["node"]
