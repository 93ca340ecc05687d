# The agent's image: `docker build -t monlat:0.1.0.dev0 .`
#
# For another processor, `docker buildx build --platform linux/arm64 …` where binfmt_misc runs its programs.
#
# The last stage holds Debian 13's Python, BCC, LLVM and the libraries that they need. It has no shell, no package
# manager, no compiler but BCC's, and one file that grants a privilege: the starter (image/starter.c).
#
# Python packages are those of requirements/, with their hashes. What comes from Debian is the newest of the day unless
# you pin it: the base image by its digest, the packages by the address of a dated copy of Debian's archive.
#
#     --build-arg BASE=docker.io/library/debian:trixie-slim@sha256:DIGEST
#     --build-arg APT_SOURCES="deb [check-valid-until=no] ADDRESS trixie main"
#
# /usr/share/sbom/monlat.cdx.json in the image lists all packages, with versions, licences and hashes.

ARG BASE=docker.io/library/debian:trixie-slim
FROM $BASE AS build
ARG APT_SOURCES=
ENV DEBIAN_FRONTEND=noninteractive
RUN if [ -n "$APT_SOURCES" ]; then \
        rm -rf /etc/apt/sources.list.d && echo "$APT_SOURCES" > /etc/apt/sources.list; \
    fi \
    && apt-get update \
    && apt-get install -y --no-install-recommends python3-venv gcc libc6-dev

# Unpack the run-time packages into /tree, with all their dependencies, as if nothing were installed. Their installation
# scripts do not run, so the packages that only those scripts need are removed.
RUN mkdir -p /debs/partial /tree/var/lib/dpkg/status.d && touch /debs/status \
    && apt-get install -y --download-only --no-install-recommends \
        -o Dir::State::status=/debs/status -o Dir::Cache::archives=/debs \
        base-files python3 python3-bpfcc libbpf1 \
    && rm -f /debs/debconf_* /debs/dpkg_* /debs/mawk_* /debs/tar_* \
    && for deb in /debs/*.deb; do \
        dpkg-deb -x "$deb" /tree \
        # scanners read status.d where there is no dpkg
        && dpkg-deb -f "$deb" > "/tree/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)" || exit 1; \
    done \
    # keep licences (also those behind a link to another package's directory); remove manuals, translations and
    # the character sets that Python does not ask glibc for
    && find /tree/usr/share/doc ! -type d ! -name copyright ! -xtype d -delete \
    && rm -rf /tree/usr/share/man /tree/usr/share/info /tree/usr/share/locale /tree/usr/share/lintian \
        /tree/usr/share/bash-completion /tree/usr/lib/*/gconv \
    && find /tree/usr -type d -empty -delete \
    && find /tree -type f -perm /6000 -exec chmod a-s {} + \
    && python3 -m compileall -q -s /tree /tree/usr/lib/python3 /tree/usr/lib/python3.13 \
    && printf 'root:x:0:0:root:/:/nonexistent\nmonlat:x:65532:65532:monlat:/:/nonexistent\n' > /tree/etc/passwd \
    && printf 'root:x:0:\nmonlat:x:65532:\n' > /tree/etc/group

# One environment for the program, which also sees the distribution's BCC; another for pip, which stays in this stage.
COPY requirements /src/requirements
RUN python3 -m venv --system-site-packages --without-pip /opt/monlat && python3 -m venv /pip \
    && /pip/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /src/requirements/build.txt \
    && /pip/bin/pip --python /opt/monlat/bin/python install --no-cache-dir --no-compile --require-hashes \
        --only-binary :all: --report /installed.json -r /src/requirements/runtime.txt
COPY image/starter.c /src/image/
RUN gcc -Os -Wall -Wextra -Werror -o /tree/usr/bin/monlat /src/image/starter.c
COPY . /src
# The Kubernetes client is more than half of these packages: remove its asynchronous twin, and compile no bytecode for
# the rest but for what discovery imports.
RUN /pip/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel /src \
    && /pip/bin/pip --python /opt/monlat/bin/python install --no-compile --no-deps /wheel/*.whl \
    && cd /opt/monlat/lib/python3*/site-packages \
    && rm -r kubernetes/aio \
    && python3 -m compileall -q -x '/kubernetes/' . \
    && /opt/monlat/bin/python -c 'import monlat_ebpf.discovery.kubernetes_api' \
    && mkdir -p /tree/usr/share/sbom \
    && python3 /src/image/sbom.py /tree /debs "$PWD" /installed.json > /tree/usr/share/sbom/monlat.cdx.json

FROM scratch
COPY --from=build /tree /
COPY --from=build /opt/monlat /opt/monlat
# The starter's file capabilities: net_raw, perfmon and bpf, permitted. Not effective: where one is missing, the kernel
# would then refuse to run the starter, and nothing could say which one. (Set in this stage, as a COPY may lose them.)
RUN ["/usr/bin/python3", "-c", "import os, struct; os.setxattr('/usr/bin/monlat', 'security.capability', \
struct.pack('<5I', 0x02000000, 1 << 13, 0, 1 << (38 - 32) | 1 << (39 - 32), 0))"]
ENV PATH=/usr/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 10045
ENTRYPOINT ["monlat"]
CMD ["--help"]
ARG BASE
ARG VERSION=0.1.0.dev0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="monlat" \
      org.opencontainers.image.description="The latency between every two nodes of a cluster, stamped by the kernel" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)" \
      org.opencontainers.image.base.name="$BASE"
