# The operator and the command line in one image. `make image` builds it.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/operator.txt requirements/build.txt requirements/
# Only files whose hash was written down, and wheels alone: no dependency runs code of its own during the build.
RUN python -m venv --without-pip /opt/keyturn \
 && pip --python /opt/keyturn install --require-hashes --no-deps --only-binary=:all: -r requirements/operator.txt \
 && pip install --require-hashes --no-deps --only-binary=:all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && pip --python /opt/keyturn install --no-deps --no-index /dist/*.whl

FROM python:3.13-slim
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="keyturn" \
      org.opencontainers.image.description="Brings secrets from where they are kept into Kubernetes Secrets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/keyturn /opt/keyturn
# The root is read-only at run time, so bytecode comes with the image (pip compiled it) and is never written.
# USER and HOME: the uid has no line in /etc/passwd, and Kopf asks for the user's name.
ENV PATH=/opt/keyturn/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    USER=keyturn \
    HOME=/var/lib/keyturn
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["keyturn"]
CMD ["run"]
