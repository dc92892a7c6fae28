/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Nameless shared memory: created by the supervisor, handed on as descriptors.
 */
#ifndef IPC_SEGMENT_H
#define IPC_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A memfd of this size that can neither shrink nor grow. Negative errno. */
int segment_create(const char *name, uint64_t size);
/* After this, mappings made so far stay writable and new ones cannot be; a
 * read-only descriptor alone would not do, it can be opened again for writing. */
int segment_seal_writes(int fd);
/* After this, nobody can add a seal: one against writing would take the segment from
 * all who have yet to map it, and keep its memory from being given back. */
int segment_seal_seals(int fd);
/* Its size; 0 if that cannot be told. */
uint64_t segment_size(int fd);
/* Its inode, which no other file has at the same time; 0 likewise. */
uint64_t segment_number(int fd);
/* 0 if fd has at least this size: reading behind its end would kill. -EPROTO if not,
 * -EBADF. */
int segment_check(int fd, uint64_t size);
/* NULL and errno on failure. */
void *segment_map(int fd, uint64_t size, bool writable);
/* Gives all pages back to the system while the mappings stay. This, and the next, wait for the
 * file's lock, which whoever may write the file can hold for ever. */
void segment_punch(int fd, uint64_t size);
/* The same for a part of a mapping, whole pages; they read as zeros afterwards, in
 * every process. When it fails (the memory is locked), they stay as they are, which
 * does no harm. */
void segment_give_back(void *memory, uint64_t size);

#endif
