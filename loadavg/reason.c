/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The words for a decision.
 */
#include "loadavg/admission.h"

#include <stdio.h>
#include <string.h>

enum { NUMBER_SIZE = 16 };

/* Thousandths with two decimals, three where they matter: 1.92, 0.853. */
static const char *number(uint32_t milli, char buffer[static NUMBER_SIZE])
{
    if (milli % 10 == 0)
        snprintf(buffer, NUMBER_SIZE, "%u.%02u", milli / 1000, milli % 1000 / 10);
    else
        snprintf(buffer, NUMBER_SIZE, "%u.%03u", milli / 1000, milli % 1000);
    return buffer;
}

static const char *mode_text(enum mc_mode mode)
{
    switch (mode) {
    case MC_INLINE:
        return "running inline";
    case MC_NARROW:
        return "running on one worker at a time";
    default:
        return "running in parallel";
    }
}

static const char *pressure_text(struct admission admission)
{
    if (admission.held)
        return "not yet below 45 %";
    if (admission.busy)
        return "at least 50 %";
    return admission.measured_milli < 500 ? "below 50 %" : "but may be the pool's own";
}

const char *admission_reason(struct admission admission, const struct admission_policy *policy,
                             enum mc_mode mode, char *buffer, size_t size)
{
    char measured[NUMBER_SIZE];
    char limit[NUMBER_SIZE];
    const char *then = mode_text(mode);
    number(admission.measured_milli, measured);
    number(policy->limit_milli, limit);

    switch (admission.cause) {
    case ADMISSION_NO_LIMIT:
        snprintf(buffer, size, "max_load_average is not set: %s", then);
        break;
    case ADMISSION_LOAD:
        snprintf(buffer, size, "load average %s per core is %s max_load_average %s: %s", measured,
                 admission.held   ? "not yet below 90 % of"
                 : admission.busy ? "above"
                                  : "within",
                 limit, then);
        break;
    case ADMISSION_QUEUE:
        snprintf(buffer, size, "%s tasks per core wait for a CPU, %s max_load_average %s: %s",
                 measured, admission.held ? "still more than" : "more than twice", limit, then);
        break;
    case ADMISSION_PRESSURE:
        snprintf(buffer, size, "CPU pressure within the CPU quota is %u %%, %s: %s",
                 admission.measured_milli / 10, pressure_text(admission), then);
        break;
    case ADMISSION_QUOTA:
        snprintf(buffer, size,
                 "a CPU quota is set and its pressure cannot be read, so that the host's load does "
                 "not count: %s",
                 then);
        break;
    case ADMISSION_UNREADABLE:
        snprintf(buffer, size, "the load cannot be read: %s", then);
        break;
    case ADMISSION_DELAY:
        snprintf(buffer, size,
                 "tasks of this client have waited for %u ms, above max_queue_delay_ms %u: %s",
                 admission.measured_milli, policy->max_delay_ms, then);
        break;
    }
    return buffer;
}
