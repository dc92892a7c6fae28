/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Echoes. The library copies the arguments once, the handler writes the result
 * once, the caller reads it in place: two copies. Beside each, the time of these
 * two copies alone, between warm buffers of this process.
 */
#include "probes.h"

#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 5 };

static bool echo(const void *bytes, size_t size, bool check)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group;
    if (mc_group_open(subject(), &options, &group) < 0)
        return false;
    bool fine = mc_group_run(group, "echo", bytes, size) == 0 && mc_group_wait(group, -1) == 0 &&
                mc_group_result(group, 0, &result) == 0 && result.status == 0 &&
                result.data_size == size;
    if (fine && check)
        fine = memcmp(result.data, bytes, size) == 0;
    mc_group_close(group);
    return fine;
}

static bool time_echoes(enum figure_id figure, unsigned samples, const void *bytes, size_t size)
{
    bool fine = true;
    for (int i = 0; fine && i < WARM_UP; i++)
        fine = echo(bytes, size, true);
    for (unsigned i = 0; fine && i < samples; i++) {
        uint64_t began = now_ns();
        fine = echo(bytes, size, false);
        figure_add(figure, elapsed_ns(began, now_ns()));
    }
    return fine;
}

/* Keeps the compiler from leaving out a copy that nobody reads. */
static void copy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    __asm__ volatile("" : : "r"(to) : "memory");
}

static void time_copies(enum figure_id figure, unsigned samples, char *bytes, size_t size)
{
    char *arguments = bytes + size;
    char *result = arguments + size;
    for (unsigned i = 0; i < WARM_UP + samples; i++) {
        uint64_t began = now_ns();
        copy(arguments, bytes, size);
        copy(result, arguments, size);
        uint64_t ended = now_ns();
        if (i >= WARM_UP)
            figure_add(figure, elapsed_ns(began, ended));
    }
}

enum outcome payload_echo(const struct probe *probe, unsigned samples)
{
    char *bytes = malloc(3 * probe->size);
    if (bytes == NULL)
        return failed("no memory for %zu bytes", 3 * probe->size);
    for (size_t i = 0; i < 3 * probe->size; i++)
        bytes[i] = (char)(i * 31 + (i >> 12));
    bool fine = time_echoes(probe->figure, samples, bytes, probe->size);
    time_copies(probe->beside[0], samples, bytes, probe->size);
    free(bytes);
    return fine ? MEASURED : failed("an echo of %zu bytes: %s", probe->size, mc_error_message());
}
