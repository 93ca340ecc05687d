"""The tracepoint source: a kernel program stamps where the driver hands packets over.

A child process (`child`) compiles, loads and attaches the program with BCC, hands the descriptors to this process over
a socket and exits. So LLVM is never resident here, and the kernel frees everything when this process ends, however it
ends.
"""
