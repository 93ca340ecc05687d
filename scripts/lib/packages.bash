# Debian packages. Sourced by scripts/setup, which gives die and quietly.
# shellcheck shell=bash

run_packages=(
	ca-certificates # pip's trust
	iproute2        # ip and tc, to inspect a demo's network
	libbpf1         # offsets of kernel structs from BTF
	nftables        # what a demo breaks
	python3-bpfcc   # BCC; brings LLVM, most of the download
	python3-venv
	util-linux # nsenter
)
# The tests compare with the results of other tools.
dev_packages=(
	bpftool                      # what is loaded, and that it is gone
	chromium                     # the page of the collector
	curl                         # scrapes
	faketime                     # a wall clock that steps
	fping                        # RTTs by others
	iperf3                       # load for the benches
	iputils-ping                 # RTTs by others
	mmdebstrap                   # a fresh Debian: base of the image, scripts/fresh-root
	openssl                      # a certificate for a fake API server
	podman                       # builds and runs the image
	procps                       # ps, sysctl
	prometheus                   # a real scraper; brings promtool
	prometheus-blackbox-exporter # RTTs by others
	prometheus-smokeping-prober  # RTTs by others
	runc                         # runs containers in namespaces that the tests made
	shellcheck                   # these scripts
	tcpdump                      # what is on the wire
)
daemons=(prometheus prometheus-blackbox-exporter prometheus-smokeping-prober)

policy=/usr/sbin/policy-rc.d
policy_mark="# made by monlat's scripts/setup, for as long as it installs packages"

# Install the packages that are missing. Their daemons start neither now nor at the next boot.
install_packages() { # runtime|dev
	local wanted=("${run_packages[@]}") missing
	[[ $1 != dev ]] || wanted+=("${dev_packages[@]}")
	mapfile -t missing < <(missing_packages "${wanted[@]}")
	((${#missing[@]})) || return 0

	echo "monlat: installing Debian packages: ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	local apt=(apt-get -q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)
	forbid_starts
	quietly "${apt[@]}" update 9>&- || die "'apt-get update' failed; its messages are above."
	quietly "${apt[@]}" install --no-install-recommends "${missing[@]}" 9>&- || # 9 is the lock: no daemon may keep it
		die "'apt-get install ${missing[*]}' failed; its messages are above."
	local daemon
	for daemon in "${daemons[@]}"; do
		[[ " ${missing[*]} " != *" $daemon "* ]] || disable_daemon "$daemon"
	done
	allow_starts
}

missing_packages() { # PACKAGE...
	local have package
	have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null) || true # unknown ones make it fail
	for package in "$@"; do
		grep -qx "installed $package" <<<"$have" || echo "$package"
	done
}

# invoke-rc.d runs this file before it starts a daemon. Leave a file that is not ours.
forbid_starts() {
	trap allow_starts EXIT
	[[ -e $policy ]] && return
	printf '#!/bin/sh\n%s\nexit 101 # nothing may start\n' "$policy_mark" >"$policy"
	chmod 755 "$policy"
}

# Also remove the file that a killed run left.
allow_starts() {
	if grep -qsxF "$policy_mark" "$policy"; then rm -f "$policy"; fi
	trap - EXIT
}

disable_daemon() { # UNIT
	if [[ -n $(command -v systemctl) ]]; then quietly systemctl disable "$1.service" || true; fi
}
