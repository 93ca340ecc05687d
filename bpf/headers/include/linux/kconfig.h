/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* BCC includes this before all else, as the kernel's build would: the types that its helpers use. */
#ifndef MONLAT_KCONFIG_H
#define MONLAT_KCONFIG_H
#define CONFIG_BPF_SYSCALL 1
#include <linux/types.h>
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;
#endif
