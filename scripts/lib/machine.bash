# Virtual machines in emulation. Sourced by scripts/test-kernels, which gives die, quietly, $root, $cache and $work.
# shellcheck shell=bash

# A machine runs a Debian of this machine's release from a read-only disk, with the locked Python packages. The initial
# RAM disk holds the checkout. No file system is shared: over 9p, tests take ten times as long.
guest_packages=(iproute2 iputils-ping libbpf1 linux-libc-dev mount python3-bpfcc util-linux)
# Locked Python packages that the disk leaves out: they are large, and no test in a machine uses them.
left_out=(__pycache__ '*.pth' monlat_ebpf '*mypyc*' 'mypy*' 'ruff*' 'kubernetes*' 'pip*' 'setuptools*' pkg_resources
	_distutils_hack 'aiohttp*' 'pydantic*' 'kmock*' 'grimp*' 'import*linter*' 'hatchling*' 'tomlkit*' 'trove_classifiers*')

# Kernel modules for the disk and for the networks of the tests; make_initrd adds those that they depend on.
disk_modules=(virtio_pci virtio_blk ext4 overlay)
test_modules=(veth bridge 8021q bonding tun virtio_net e1000 sch_netem sch_prio sch_tbf cls_u32 sch_ingress cls_bpf
	ipvlan geneve ipip wireguard vrf)

# shellcheck disable=SC1091
debian=$(. /etc/os-release && echo "$VERSION_CODENAME")

# Print the file of the disk that all machines of an architecture share.
disk_of() { # ARCHITECTURE
	local contents
	contents=$({ declare -p guest_packages left_out && cat "$root/.venv/.installed"; } | sha256sum | head -c 16)
	echo "$cache/$1/$debian-$contents.ext2"
}

# Make the disk of an architecture unless it exists.
make_disk() { # ARCHITECTURE
	local disk tree="$work/tree" reach="$work/apt.conf" variant=(--variant=minbase)
	local packages="$root/.venv/lib/python3*/site-packages" included=("${guest_packages[@]}")
	disk=$(disk_of "$1")
	[[ ! -e $disk ]] || return 0
	echo "test-kernels: making the disk of the machines of $1" >&2
	if [[ $1 != amd64 ]]; then # this machine cannot run what is in the packages, so nothing configures them
		variant=(--variant=extract --architectures="$1")
		included+=('?essential')
		packages="$work/packages"
		fetch_python_packages "$1" "$packages"
	fi
	apt-config dump | grep -E '^Acquire::((https?|ftp)::(Proxy|Timeout|Verify)|Check-|Retries)' >"$reach" || true
	quietly mmdebstrap "${variant[@]}" --aptopt="$reach" --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--include="$(IFS=, && echo "${included[*]}")" "$debian" "$tree" || die "mmdebstrap failed; its messages are above."
	[[ -e $tree/etc/passwd ]] || cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
	copy_python_packages "$packages" "$tree"
	rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/*
	quietly mke2fs -q -t ext2 -d "$tree" "$work/disk" 1G || die "mke2fs failed; its messages are above."
	rm -rf "$tree" "$cache/$1"/*.ext2
	mkdir -p "$cache/$1"
	mv "$work/disk" "$disk"
}

# Install the locked Python packages for another architecture. This fails when the locks lack a wheel for it.
fetch_python_packages() { # ARCHITECTURE FOLDER
	local name=${1/arm64/aarch64}
	quietly "$root/.venv/bin/python" -m pip install --disable-pip-version-check --root-user-action=ignore --no-compile \
		--require-hashes --only-binary :all: --platform "manylinux_2_28_$name" --platform "manylinux2014_$name" \
		--target "$2" --requirement "$root/requirements/runtime.txt" --requirement "$root/requirements/build.txt" \
		--requirement "$root/requirements/dev.txt" || die "pip failed; its messages are above."
	cp -r "$root"/.venv/lib/python3*/site-packages/monlat_ebpf-*.dist-info "$2/" # the program's version
}

# Copy the versions that the other tests run with.
copy_python_packages() { # PATTERN TREE
	local from to
	from=$(compgen -G "$1") && to=$(compgen -G "$2/usr/lib/python3/dist-packages")
	tar -C "$from" -c "${left_out[@]/#/--exclude=./}" . | tar -C "$to" -x
}

# Make the initial RAM disk of a kernel: modules, the checkout and the command.
make_initrd() { # KERNEL FILE COMMAND
	local tree="$cache/kernels/$1" file=$2 command=$3 release into=$2.tree module
	release=$(<"$tree/release")
	mkdir -p "$into"/{bin,lower,modules,monlat,new,proc,rw}
	cp "$(compgen -G "$tree/usr/bin/busybox" || command -v busybox)" "$into/bin/busybox"
	ln -s busybox "$into/bin/sh"
	cp "$root/scripts/lib/guest-init" "$into/init"
	cp -r --preserve=timestamps "$root"/{bpf,monlat_ebpf,pyproject.toml,testkit,tests} "$into/monlat/"
	printf '%s\n' "$command" >"$into/monlat/command"
	for module in "${disk_modules[@]}" "${test_modules[@]}"; do
		modprobe -C /dev/null --show-depends -d "$tree" -S "$release" "$module" | sed -n 's/^insmod //p'
	done | awk '!seen[$1]++ { print $1 }' | while read -r module; do
		unpacked_module "$module" >"$into/modules/$(basename "$module" | sed 's/\.ko.*/.ko/')"
		basename "$module" | sed 's/\.ko.*/.ko/' >>"$into/modules/order"
	done
	(cd "$into" && find . | busybox cpio -o -H newc 2>/dev/null) >"$file"
	rm -rf "$into"
}

unpacked_module() { # FILE
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -dc "$1" ;;
	*) cat "$1" ;;
	esac
}

# Run a machine until it ends. REPORT then holds the command's output, REPORT.console the kernel's messages,
# REPORT.qemu QEMU's and REPORT.pid its process. A signal ends the wait at once.
run_machine() { # KERNEL INITRD REPORT SECONDS [QEMU OPTION...]
	local kernel="$cache/kernels/$1/vmlinuz" initrd=$2 report=$3 seconds=$4 machine disk
	disk=$(disk_of "$(architecture_of "$1")")
	case $(architecture_of "$1") in
	amd64) machine=(qemu-system-x86_64 -machine q35 -serial "file:$report.console" -serial "file:$report"
		-append 'console=ttyS0 report=ttyS1 quiet panic=-1 mitigations=off tsc=reliable') ;;
	arm64) machine=(qemu-system-aarch64 -machine virt -cpu cortex-a72 -serial "file:$report.console"
		-chardev "file,id=report,path=$report" -device 'pci-serial,chardev=report'
		-append 'console=ttyAMA0 report=ttyS0 quiet panic=-1 mitigations=off') ;;
	esac
	shift 4
	# A higher priority than other work: compiling takes 20 s of an emulated processor; the loader gives up after 60 s.
	timeout --kill-after=5 "$seconds" nice -n -10 "${machine[@]}" \
		-accel tcg,thread=multi,tb-size=512 -smp 2 -m 2048 \
		-nodefaults -no-user-config -no-reboot -display none -pidfile "$report.pid" -kernel "$kernel" -initrd "$initrd" \
		-drive "file=$disk,format=raw,if=virtio,readonly=on" "$@" </dev/null 2>"$report.qemu" &
	wait $!
}

end_machine() { # REPORT
	local pid
	if pid=$(cat "$1.pid" 2>/dev/null); then kill "$pid" 2>/dev/null || true; fi
}
