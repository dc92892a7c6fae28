/* SPDX-License-Identifier: BSD-3-Clause */
#include "pingpong.h"
#include "probes.h"

enum { IDLE_NS = 1000000 };

enum outcome floor_spin(const struct probe *probe, unsigned samples)
{
    return ping_pong(probe->figure, samples,
                     (struct ping_pong){.spins = true, .answerer = SECOND_CPU});
}

enum outcome floor_futex_same_core(const struct probe *probe, unsigned samples)
{
    return ping_pong(probe->figure, samples, (struct ping_pong){.answerer = FIRST_CPU});
}

enum outcome floor_futex_cross_core(const struct probe *probe, unsigned samples)
{
    return ping_pong(probe->figure, samples, (struct ping_pong){.answerer = SECOND_CPU});
}

enum outcome floor_futex_idle(const struct probe *probe, unsigned samples)
{
    return ping_pong(probe->figure, samples,
                     (struct ping_pong){.answerer = FIRST_CPU, .idle_ns = IDLE_NS});
}
