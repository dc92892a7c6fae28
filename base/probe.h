/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Static probes (USDT) for bpftrace, perf, gdb and systemtap; docs/TRACING.md lists
 * them. A probe is one nop, and a note in the file that says where its arguments are.
 * It must not make work: give it what is in a register there anyway, or a field of
 * what a register points to, which the tracer then reads itself. Without MC_PROBES it
 * is nothing.
 */
#ifndef BASE_PROBE_H
#define BASE_PROBE_H

#ifdef MC_PROBES

/* Where an argument may be in memory, clang stores it there for the probe alone. */
#ifdef __clang__
#define STAP_SDT_ARG_CONSTRAINT nr
#endif
#include <sys/sdt.h>

/* Not STAP_PROBE: compilers take each line of an asm for an instruction unless it is
 * `inline`, and would no longer inline the functions around it. */
#define PROBE_HERE(name, count, ...)                                                               \
    __asm__ __inline__ __volatile__(                                                               \
        STAP_PROBE_ASM(multicore, name, STAP_PROBE_ASM_TEMPLATE(count))::STAP_PROBE_ASM_OPERANDS(  \
            count, __VA_ARGS__))

#else
#define PROBE_HERE(name, count, ...) ((void)0)
#endif

#define PROBE2(name, ...) PROBE_HERE(name, 2, __VA_ARGS__)
#define PROBE4(name, ...) PROBE_HERE(name, 4, __VA_ARGS__)
#define PROBE5(name, ...) PROBE_HERE(name, 5, __VA_ARGS__)
#define PROBE6(name, ...) PROBE_HERE(name, 6, __VA_ARGS__)

#endif
