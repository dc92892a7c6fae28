/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Packets that wait for their time. Each is due the same time after it came, so the first
 * that came is the first that goes: a ring. Pure: the caller says what time it is.
 */
#ifndef STUDY_DELAY_H
#define STUDY_DELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PACKET_MOST = 2048 }; /* bytes; more than the MTU of the wire */

struct packet {
    uint64_t due; /* ns */
    uint32_t size;
    uint8_t bytes[PACKET_MOST];
};

struct delay {
    struct packet *packets;
    uint32_t capacity;
    uint32_t first, count;
    uint64_t duration; /* ns */
    uint64_t dropped;  /* packets that found the ring full, as they would a router's queue */
};

/* False when there is no memory. The ring's pages cost nothing before they are used. */
bool delay_init(struct delay *delay, uint32_t capacity, uint64_t duration);
void delay_fini(struct delay *delay);

/* Where the next packet is to be written, PACKET_MOST bytes; its bytes may be overwritten
 * until delay_put() makes it wait. */
uint8_t *delay_room(struct delay *delay);
void delay_put(struct delay *delay, size_t size, uint64_t now);

/* The first packet if it is due, otherwise NULL. It is there until delay_drop_first(). */
const struct packet *delay_first(const struct delay *delay, uint64_t now);
void delay_drop_first(struct delay *delay);

/* Nanoseconds until the first one is due; UINT64_MAX when nothing waits. */
uint64_t delay_until_due(const struct delay *delay, uint64_t now);

#endif
