/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/look.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned count_fds(const char *path)
{
    unsigned count = 0;
    DIR *directory = opendir(path);
    while (directory != NULL && readdir(directory) != NULL)
        count++;
    if (directory != NULL)
        closedir(directory);
    return count;
}

static unsigned count_memfds(const char *path)
{
    char line[512];
    unsigned count = 0;
    FILE *maps = fopen(path, "re");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
        count += strstr(line, "memfd:") != NULL;
    if (maps != NULL)
        fclose(maps);
    return count;
}

unsigned look_own_fds(void)
{
    return count_fds("/proc/self/fd");
}

unsigned look_own_memfds(void)
{
    return count_memfds("/proc/self/maps");
}

static pid_t pid_behind(int pidfd)
{
    char path[64], line[128];
    int pid = 0;
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
    FILE *info = fopen(path, "re");
    while (info != NULL && fgets(line, sizeof(line), info) != NULL)
        if (strncmp(line, "Pid:", 4) == 0)
            pid = atoi(line + 4);
    if (info != NULL)
        fclose(info);
    return pid;
}

unsigned look_children(pid_t parent, pid_t *children, unsigned count)
{
    char path[64];
    unsigned found = 0;
    int pid;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *list = fopen(path, "re");
    while (list != NULL && found < count && fscanf(list, "%d", &pid) == 1)
        children[found++] = pid;
    if (list != NULL)
        fclose(list);
    return found;
}

void look_name(pid_t pid, char name[32])
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(name, 32, file) == NULL)
        name[0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
}

static pid_t zygote_of(pid_t supervisor)
{
    pid_t children[32];
    unsigned count = look_children(supervisor, children, 32);
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        look_name(children[i], name);
        if (strcmp(name, "mc-zygote") == 0)
            return children[i];
    }
    return 0;
}

pid_t look_zygote(int supervisor_pidfd)
{
    pid_t supervisor = pid_behind(supervisor_pidfd);
    return supervisor > 0 ? zygote_of(supervisor) : 0;
}

bool look_holdings(int supervisor_pidfd, struct holdings *holdings)
{
    char path[64];
    memset(holdings, 0, sizeof(*holdings));
    pid_t supervisor = pid_behind(supervisor_pidfd);
    pid_t zygote = supervisor > 0 ? zygote_of(supervisor) : 0;
    if (zygote <= 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)supervisor);
    holdings->supervisor_fds = count_fds(path);
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)supervisor);
    holdings->supervisor_maps = count_memfds(path);
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)zygote);
    holdings->zygote_fds = count_fds(path);
    return holdings->supervisor_fds != 0 && holdings->zygote_fds != 0;
}
