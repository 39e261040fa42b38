# The mock in a container: docker run -p 127.0.0.1:4010:4010 IMAGE
# State is kept in /data, so that it outlives the container where a volume is mounted there.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY openapi openapi
COPY contract_tests contract_tests
COPY qashier_mock qashier_mock
RUN python -m venv /opt/qashier-mock \
 && /opt/qashier-mock/bin/pip install --no-cache-dir .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="qashier-mock" \
      org.opencontainers.image.description="A stateful mock server and contract checker for Qashier Checkout Sessions" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --home-dir /data --create-home mock
COPY --from=build /opt/qashier-mock /opt/qashier-mock
ENV PATH="/opt/qashier-mock/bin:$PATH" PYTHONUNBUFFERED=1
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 4010
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4010/_mock/v1/health', timeout=2)"]
ENTRYPOINT ["qashier-mock"]
CMD ["serve", "--host", "0.0.0.0", "--store", "sqlite:////data/mock.sqlite3"]
