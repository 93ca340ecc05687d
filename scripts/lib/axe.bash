# axe-core for the tests of the pages: it finds barriers for people with disabilities. Sourced by scripts/setup, which gives
# die and quietly.
# shellcheck shell=bash

# Put axe.min.js into ROOT/.venv/share. It comes from a package on PyPI that carries the file of the npm package axe-core,
# locked by its hash, so the tests need neither npm nor a network.
install_axe() { # ROOT
	local lock="$1/requirements/axe.txt" python="$1/.venv/bin/python" file="$1/.venv/share/axe.min.js" work
	[[ ! -e $file || $file -ot $lock ]] || return 0
	echo "monlat: fetching axe-core into $file"
	work=$(mktemp -d)
	quietly "$python" -m pip download --disable-pip-version-check --no-deps --only-binary :all: \
		--require-hashes --requirement "$lock" --dest "$work" ||
		die "'pip download' failed; its messages are above."
	mkdir -p "${file%/*}"
	"$python" -I - "$work" "$file" <<-'END' || die "axe-core cannot be unpacked; the reason is above."
		import sys
		from pathlib import Path
		from zipfile import ZipFile

		work, file = map(Path, sys.argv[1:])
		(wheel,) = work.glob("*.whl")
		new = file.with_suffix(".new")
		new.write_bytes(ZipFile(wheel).read("axe_playwright_python/axe.min.js"))
		new.rename(file)  # a killed run leaves no half of it
	END
	rm -rf "$work"
}
