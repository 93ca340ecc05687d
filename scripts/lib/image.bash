# The image for another architecture. Sourced by scripts/test-kernels, which gives die, quietly and $root.
# shellcheck shell=bash

binfmt=/proc/sys/fs/binfmt_misc # programs of other processors, run by qemu-user
registered=                      # what this run has told the kernel

# Let this machine run programs of an architecture until stop_other_processor.
run_other_processor() { # ARCHITECTURE
	local name=qemu-${1/arm64/aarch64}
	[[ -e $binfmt/register ]] || mount -t binfmt_misc binfmt_misc "$binfmt" ||
		die "this kernel has no binfmt_misc: the image for $1 cannot be built here."
	[[ ! -e $binfmt/$name ]] || return 0
	grep -v '^#' "/usr/lib/binfmt.d/$name.conf" >"$binfmt/register" || die "$name cannot be registered."
	registered=$binfmt/$name
}

stop_other_processor() {
	[[ -z $registered ]] || echo -1 >"$registered"
	registered=
}

# shellcheck disable=SC2154 # root is the script's
# Build the image for an architecture, and put its files into a disk.
make_image_disk() { # ARCHITECTURE FILE
	local name tree
	run_other_processor "$1"
	echo "test-kernels: building the image for $1" >&2
	name=$(cd "$root" && .venv/bin/python -m tests.cluster.image "$1") || die "the image cannot be built; see above."
	stop_other_processor
	tree=$(podman image mount "$name")
	quietly mke2fs -q -t ext2 -d "$tree" "$2" 1G || die "mke2fs failed; its messages are above."
	quietly podman image unmount "$name"
}
