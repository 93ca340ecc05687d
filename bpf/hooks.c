/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The hooks: raw tracepoints that see every packet of the machine. Each copies what decides whether the
 * packet can be ours, says which way it goes, and calls the core.
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
