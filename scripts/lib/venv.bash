# The virtual environment. Sourced by scripts/setup, which gives die and quietly.
# shellcheck shell=bash

python=/usr/bin/python3 # the distribution's: only this one can import its BCC

# Make or repair ROOT/.venv. Two files in it record the environment it was made for, and the lock that pip installed.
install_venv() { # ROOT runtime|dev DEBIAN
	local root=$1 set=$2 debian=$3 venv=$1/.venv environment packages
	local locked=(--requirement "$root/requirements/runtime.txt" --requirement "$root/requirements/build.txt")
	[[ $set != dev ]] || locked+=(--requirement "$root/requirements/dev.txt")
	unset PYTHONHOME PYTHONPATH # modules of another Python would shadow the right ones
	"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
		die "$python is missing or older than 3.11: 'apt-get install --reinstall python3' remedies it."
	environment="Debian $debian, $("$python" -V), $venv"
	packages="$set $(cat "$root/pyproject.toml" "$root"/requirements/*.txt | sha256sum)"

	if [[ $(cat "$venv/.made-for" 2>/dev/null) != "$environment" ]] || ! is_alive "$venv"; then
		echo "monlat: making $venv"
		rm -rf "$venv"
		quietly "$python" -m venv --system-site-packages "$venv" || die "'$python -m venv' failed; its messages are above."
		echo "$environment" >"$venv/.made-for"
	fi
	if ! is_installed "$venv" "$packages"; then
		echo "monlat: installing Python packages into $venv"
		rm -f "$venv/.installed"
		# Wheels only: to build a package, pip would download build tools that no lock knows.
		install_python "$venv" --require-hashes --only-binary :all: "${locked[@]}"
		install_python "$venv" --no-deps --no-build-isolation --editable "$root"
		"$venv/bin/python" -I -c 'import bcc' || die "BCC cannot be imported by $venv/bin/python; the reason is above."
		echo "$packages" >"$venv/.installed"
	fi
}

install_python() { # VENV ARGUMENT...
	local venv=$1
	shift
	quietly "$venv/bin/python" -m pip install --disable-pip-version-check --root-user-action=ignore "$@" ||
		die "'pip install' failed; its messages are above."
}

is_alive() { # VENV
	"$1/bin/python" -I -c 'import pip' 2>/dev/null
}

# Check that these packages, or with "dev" all of them and more, were installed and are still there.
is_installed() { # VENV PACKAGES
	local stamp
	stamp=$(cat "$1/.installed" 2>/dev/null) || return 1
	[[ $stamp == "$2" || $stamp == "dev ${2#* }" ]] && [[ -x $1/bin/monlat ]] &&
		"$1/bin/python" -I - "${stamp%% *}" 2>/dev/null <<-'END'
			import re, sys
			from importlib.metadata import requires, version

			extra = {"runtime": "kubernetes"}.get(sys.argv[1], sys.argv[1])
			for requirement in requires("monlat-ebpf"):
			    if "extra ==" not in requirement or f"extra == '{extra}'" in requirement.replace('"', "'"):
			        version(re.match(r"[\w.-]+", requirement)[0])
		END
}
