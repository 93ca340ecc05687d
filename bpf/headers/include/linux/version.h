/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Raw tracepoints are not checked against the kernel's version; BCC only wants it defined. */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#ifndef LINUX_VERSION_CODE
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 10, 0)
#endif
