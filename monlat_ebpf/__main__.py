"""`python -m monlat_ebpf` is `monlat`."""

from monlat_ebpf.cli.main import main

main()
