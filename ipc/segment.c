/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/segment.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int segment_create(const char *name, uint64_t size)
{
    int fd =
        FAULT_CALL("segment_create", EMFILE, memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd < 0)
        return -errno;
    if (FAULT_CALL("segment_size", ENOMEM, ftruncate(fd, (off_t)size)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int segment_seal_writes(int fd)
{
    return FAULT_CALL("segment_seal", EBUSY,
                      fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)) < 0
               ? -errno
               : 0;
}

int segment_seal_seals(int fd)
{
    return FAULT_CALL("segment_seal_seals", EBUSY, fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL)) < 0 ? -errno
                                                                                            : 0;
}

uint64_t segment_size(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_size > 0 ? (uint64_t)status.st_size : 0;
}

uint64_t segment_number(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 ? (uint64_t)status.st_ino : 0;
}

int segment_check(int fd, uint64_t size)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    return status.st_size >= 0 && (uint64_t)status.st_size >= size ? 0 : -EPROTO;
}

void *segment_map(int fd, uint64_t size, bool writable)
{
    if (FAULT_FAILS("segment_map", ENOMEM))
        return NULL;
    int result = segment_check(fd, size);
    if (result < 0) {
        errno = -result;
        return NULL;
    }
    void *memory = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0),
                        MAP_SHARED | MAP_NORESERVE, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void segment_punch(int fd, uint64_t size)
{
    FAULT_POINT("segment_punch");
    (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
}

void segment_give_back(void *memory, uint64_t size)
{
    (void)madvise(memory, size, MADV_REMOVE);
}
