/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/cgroup_memory.h"

#include "loadavg/text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

struct hierarchy {
    const char *line;  /* of /proc/self/cgroup, how it begins behind the number */
    const char *mount; /* where it is */
    const char *file;
};
static const struct hierarchy hierarchies[] = {
    {":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
    {"::", "/sys/fs/cgroup", "memory.max"},
};

static uint64_t read_limit(const char *directory, const char *file)
{
    char path[PATH_MAX + 64], text[64];
    uint64_t value;
    snprintf(path, sizeof(path), "%s/%s", directory, file);
    if (text_read(path, text, sizeof(text)) <= 0 || text_integer(text, &value) == NULL)
        return UINT64_MAX; /* v2 says "max" */
    return value;
}

/* The group and those above; in a container the paths of the former may not be there. */
static uint64_t smallest(const char *root, const struct hierarchy *hierarchy, const char *group)
{
    char directory[PATH_MAX];
    size_t top = strlen(root) + strlen(hierarchy->mount);
    uint64_t least = UINT64_MAX;
    snprintf(directory, sizeof(directory), "%s%s%s", root, hierarchy->mount, group);
    for (;;) {
        uint64_t limit = read_limit(directory, hierarchy->file);
        least = limit < least ? limit : least;
        char *slash = strrchr(directory, '/');
        if (slash < directory + top)
            return least;
        *slash = '\0';
    }
}

uint64_t cgroup_memory_limit(const char *root)
{
    char line[PATH_MAX];
    uint64_t least = UINT64_MAX;
    snprintf(line, sizeof(line), "%s/proc/self/cgroup", root);
    FILE *file = fopen(line, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        for (int i = 0; i < 2; i++) {
            size_t length = strlen(hierarchies[i].line);
            const char *colon = strchr(line, ':');
            if (colon == NULL || strncmp(colon, hierarchies[i].line, length) != 0)
                continue;
            uint64_t limit = smallest(root, &hierarchies[i], colon + length);
            least = limit < least ? limit : least;
        }
    }
    if (file != NULL)
        fclose(file);
    return least;
}
