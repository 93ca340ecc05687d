# Fetch Debian's kernels of several releases. Sourced by scripts/test-kernels, which gives die, quietly and $cache.
# shellcheck shell=bash

# For each kernel, the suites that have it. Of several suites, the newest version wins.
declare -A suites=(
	[5.10]=bullseye
	[6.1]=bookworm
	[6.12]=trixie
	[newest]="trixie-backports sid"
	[arm64]=trixie
)
declare -A architectures=([arm64]=arm64) # those that are not amd64
archive_keys=/usr/share/keyrings/debian-archive-keyring.gpg

# Unpack a kernel into $cache/kernels/NAME unless it exists: its image as `vmlinuz`, its modules under
# lib/modules, and its release in the file `release`.
fetch_kernel() { # NAME
	local name=$1 tree="$cache/kernels/$1" work="$cache/kernels/.fetching" packages release
	[[ ! -e $tree/release ]] || return 0
	[[ -n ${suites[$name]-} ]] || die "no kernel '$name' is known, only ${!suites[*]}"
	know_packages "$name"
	mapfile -t packages < <(packages_of_kernel)
	((${#packages[@]})) || die "${suites[$name]} has no package linux-image-$architecture: is that release archived by now?"
	[[ $architecture == amd64 ]] || packages+=(busybox-static) # this machine's own does not run there
	echo "test-kernels: fetching ${packages[*]}" >&2
	rm -rf "$work"
	mkdir -p "$work/debs" "$work/tree"
	(cd "$work/debs" && quietly private_apt apt-get download "${packages[@]}") ||
		die "the packages of kernel $name cannot be fetched; apt's messages are above."
	local package
	for package in "$work"/debs/*.deb; do
		dpkg-deb --fsys-tarfile "$package" | tar -C "$work/tree" -x --exclude='./usr/share'
	done
	if [[ -d $work/tree/usr/lib/modules ]]; then # newer ones have everything under /usr
		mkdir -p "$work/tree/lib"
		mv "$work/tree/usr/lib/modules" "$work/tree/lib/"
	fi
	release=$(cd "$work/tree/lib/modules" && echo *)
	mv "$work/tree/boot/vmlinuz-$release" "$work/tree/vmlinuz" 2>/dev/null ||
		mv "$work/tree/lib/modules/$release/vmlinuz" "$work/tree/vmlinuz"
	depmod -b "$work/tree" "$release"
	echo "$release" >"$work/tree/release"
	rm -rf "$tree"
	mv "$work/tree" "$tree"
	rm -rf "$work"
}

# Run a command of apt for $architecture on separate lists: it does not change this machine's lists, caches and packages.
private_apt() { # COMMAND...
	local program=$1 own="$cache/apt"
	shift
	"$program" -o Dir::State::Lists="$own/lists" -o Dir::State::status="$own/status" -o Dir::Cache="$own/cache" \
		-o Dir::Etc::SourceList="$own/sources.list" -o Dir::Etc::SourceParts=- -o Dir::Etc::Preferences=- \
		-o Dir::Etc::PreferencesParts=- -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" \
		-o APT::Sandbox::User=root -o Acquire::Retries=3 -o Acquire::Languages=none "$@"
}

architecture_of() { # NAME
	echo "${architectures[$1]-amd64}"
}

# Read the package lists of a kernel's suites, from the mirror that this machine takes its own release from.
know_packages() { # NAME
	local mirror suite
	architecture=$(architecture_of "$1")
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
	[[ -n $mirror ]] || die "this machine's apt knows no Debian archive: run 'apt-get update' first."
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
	: >"$cache/apt/status"
	for suite in ${suites[$1]}; do
		echo "deb [signed-by=$archive_keys] $mirror $suite main"
	done >"$cache/apt/sources.list"
	quietly private_apt apt-get update || die "the lists of ${suites[$1]} cannot be fetched; apt's messages are above."
}

# Print the packages that the known suites' newest linux-image depends on: the image and, where they are separate
# packages, the modules and the base.
packages_of_kernel() {
	local wanted=("linux-image-$architecture=$(newest_version "linux-image-$architecture")") found
	found=$(dependencies "${wanted[@]}" | grep -E '^linux-image-[0-9]')
	{ echo "$found"; dependencies "$found" | grep -E '^linux-(base|binary|modules)-[0-9]'; } | sort -u
}

newest_version() { # PACKAGE
	private_apt apt-cache madison "$1" | awk '{ print $3 }' | sort --version-sort | tail -n 1
}

# Print a package's dependencies, as NAME=VERSION where a version is required.
dependencies() { # PACKAGE[=VERSION]
	private_apt apt-cache show "$1" | sed -n 's/^Depends: //p' | head -n 1 | tr ',|' '\n\n' |
		sed -E 's/^ *([^ ]+)( \(= ([^)]+)\))?.*$/\1=\3/; s/=$//'
}
