/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Runs every file of the folders that are named through a target, once: the
 * corpus as a regression test, for any compiler.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

/* In a block of exactly the file's size, so that a sanitizer sees reads past it. */
static uint8_t *load(const char *path, size_t *size)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL || fseek(stream, 0, SEEK_END) != 0)
        return NULL;
    *size = (size_t)ftell(stream);
    rewind(stream);
    uint8_t *data = malloc(*size != 0 ? *size : 1);
    if (data != NULL && fread(data, 1, *size, stream) != *size) {
        free(data);
        data = NULL;
    }
    fclose(stream);
    return data;
}

static int replay(const char *folder)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        return -1;
    }
    int count = 0;
    for (struct dirent *entry; count >= 0 && (entry = readdir(directory)) != NULL;) {
        char path[4096];
        size_t size = 0;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        uint8_t *data = load(path, &size);
        /* Whoever reads the log of a crash wants to know which file it was. */
        printf("%s\n", path);
        fflush(stdout);
        if (data == NULL) {
            fprintf(stderr, "%s cannot be read\n", path);
            count = -1;
            break;
        }
        (void)LLVMFuzzerTestOneInput(data, size);
        free(data);
        count++;
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int count = replay(argv[i]);
        if (count <= 0) /* an empty corpus tests nothing */
            return EXIT_FAILURE;
        total += count;
    }
    printf("%d files\n", total);
    return argc > 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
