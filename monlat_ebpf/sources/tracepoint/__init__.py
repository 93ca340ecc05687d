"""The tracepoint source: a kernel program stamps where the driver hands packets over.

A child process (`child`) compiles, loads and attaches with BCC, hands every descriptor to this process
over a socket and exits: LLVM is never resident here, and the kernel frees it all when this process ends,
however it ends.
"""
