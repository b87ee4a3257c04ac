# Where it is built: Node 24 with npm, a POSIX shell and find.
ARG BUILD_BASE=docker.io/library/node:24-trixie-slim
# Where it runs: `node` on the PATH or in /nodejs/bin, CA certificates, no shell. The tag moves; to build the same again: --build-arg BASE=…@sha256:…
ARG BASE=gcr.io/distroless/nodejs24-debian13:nonroot

# What is built is JavaScript, the same for every platform: it is built on the builder's own.
FROM --platform=${BUILDPLATFORM} ${BUILD_BASE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY plugins plugins
# Neither source maps nor types: nothing reads them at run time.
RUN npm run build -- --declaration false --sourceMap false --inlineSources false

FROM --platform=${BUILDPLATFORM} ${BUILD_BASE} AS production
WORKDIR /app
COPY package.json package-lock.json ./
# Of the packages likewise; their licences stay.
RUN npm ci --omit=dev --ignore-scripts \
  && find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' \) -delete \
  && rm -r node_modules/.bin

FROM ${BASE}
WORKDIR /app
COPY --from=production /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
ENV PATH=/nodejs/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  NODE_ENV=production \
  HOST=0.0.0.0
# By number, so that Kubernetes can check runAsNonRoot.
USER 65532:65532
EXPOSE 4000
# No HEALTHCHECK: Kubernetes does not read it, and only the configuration knows the port.
ENTRYPOINT ["node", "/app/dist/src/main.js"]
ARG BASE
ARG VERSION=dev
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="Signalbox" \
  org.opencontainers.image.description="A cluster-wide LLM gateway: the OpenAI API on the front, any LLM behind it." \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.source="https://github.com/signalbox/signalbox" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}" \
  org.opencontainers.image.created="${CREATED}" \
  org.opencontainers.image.base.name="${BASE}"
