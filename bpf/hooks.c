/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The hooks: raw tracepoints that see every packet of the machine. Each reads the fields that decide whether the packet
 * can be ours, and calls receive() or transmit() of the core.
 */

#define BPF_LICENSE Dual BSD/GPL

#include <uapi/linux/bpf.h>
#include "monlat.h"
#include "maps.h"
#include "histogram.h"
#include "packet.h"
#include "responder.h"
#include "core.h"
#include "transmit.h"
#include "receive.h"
