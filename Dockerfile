# The agent's image: `docker build -t monlat:0.1.0.dev0 .`
#
# The last stage holds Debian 13's Python, BCC, LLVM and what they link to, and nothing else of a distribution: no
# shell, no package manager, no compiler but BCC's, no file that grants a privilege but the starter (image/starter.c).

FROM docker.io/library/debian:trixie-slim AS build
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv gcc libc6-dev

# Unpack the run-time packages, as if nothing were installed yet, into /tree. Left out of the dependencies is what only
# their installation scripts would have used; no script is run.
RUN mkdir -p /debs/partial /tree/var/lib/dpkg/status.d && touch /debs/status \
    && apt-get install -y --download-only --no-install-recommends \
        -o Dir::State::status=/debs/status -o Dir::Cache::archives=/debs \
        base-files python3 python3-bpfcc libbpf1 \
    && rm -f /debs/debconf_* /debs/dpkg_* /debs/mawk_* /debs/tar_* \
    && for deb in /debs/*.deb; do \
        dpkg-deb -x "$deb" /tree \
        # what scanners look for where there is no dpkg
        && dpkg-deb -f "$deb" > "/tree/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)" || exit 1; \
    done \
    # licences stay; manuals, translations and character sets that Python does not ask glibc for go
    && find /tree/usr/share/doc ! -type d ! -name copyright -delete \
    && rm -rf /tree/usr/share/man /tree/usr/share/info /tree/usr/share/locale /tree/usr/share/lintian \
        /tree/usr/share/bash-completion /tree/usr/lib/*/gconv \
    && find /tree/usr -type d -empty -delete \
    && find /tree -type f -perm /6000 -exec chmod a-s {} + \
    && python3 -m compileall -q -s /tree /tree/usr/lib/python3 /tree/usr/lib/python3.13 \
    && printf 'root:x:0:0:root:/:/nonexistent\nmonlat:x:65532:65532:monlat:/:/nonexistent\n' > /tree/etc/passwd \
    && printf 'root:x:0:\nmonlat:x:65532:\n' > /tree/etc/group

# One environment for the program, which also sees the distribution's BCC; another for pip, which stays here.
RUN python3 -m venv --system-site-packages --without-pip /opt/monlat && python3 -m venv /pip
COPY image/starter.c /src/image/
RUN gcc -Os -Wall -Wextra -Werror -o /tree/usr/bin/monlat /src/image/starter.c
COPY . /src
# Of the Kubernetes client, more than half of everything here, the asynchronous twin goes, and the bytecode of what
# discovery does not import is not made.
RUN /pip/bin/pip --python /opt/monlat/bin/python install --no-cache-dir --no-compile "/src[kubernetes]" \
    && cd /opt/monlat/lib/python3*/site-packages \
    && rm -r kubernetes/aio \
    && python3 -m compileall -q -x '/kubernetes/' . \
    && /opt/monlat/bin/python -c 'import monlat_ebpf.discovery.kubernetes_api'

FROM scratch
COPY --from=build /tree /
COPY --from=build /opt/monlat /opt/monlat
# The starter's file capabilities: net_raw, perfmon and bpf, permitted. Not effective as well: the kernel would then
# refuse to run it at all where one is missing, and nobody could say which. (In this stage, as a COPY may lose them.)
RUN ["/usr/bin/python3", "-c", "import os, struct; os.setxattr('/usr/bin/monlat', 'security.capability', \
struct.pack('<5I', 0x02000000, 1 << 13, 0, 1 << (38 - 32) | 1 << (39 - 32), 0))"]
ENV PATH=/usr/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 10045
ENTRYPOINT ["monlat"]
CMD ["--help"]
ARG VERSION=0.1.0.dev0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="monlat" \
      org.opencontainers.image.description="The latency between every two nodes of a cluster, stamped by the kernel" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim"
