/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The program. Hooks are raw tracepoints with typed arguments that see every packet of the machine: they only record
 * when a packet of ours passed. Filters are of the agent's own raw sockets, where the stack delivers packets whole,
 * once, past the firewall: they decide what a packet means. */

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
#include "deliver.h"
