/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What a working host tells its watcher, one packet each, through a socket of type SOCK_SEQPACKET.
 */
#ifndef WAYBILL_TESTS_CRASH_ACKNOWLEDGEMENT_H
#define WAYBILL_TESTS_CRASH_ACKNOWLEDGEMENT_H

#include <stdint.h>

#define WRITERS_MAX 16

#define SAID_LOADED 1u       /**< the library is loaded; the host waits for a packet to go on */
#define SAID_OPEN 2u         /**< the store is open */
#define SAID_ACKNOWLEDGED 3u /**< operation `number` of `writer` is done */
#define SAID_REFUSED 4u      /**< it ended with `status`; gets were checked; the writer has ended */
#define SAID_WRONG 5u        /**< the library answered what it must not; the host has ended */

typedef struct acknowledgement {
    uint32_t said;
    uint32_t writer;
    int32_t status;
    uint32_t reserved;
    uint64_t number;
    uint64_t revision; /**< of the operation's transaction, 0 if it wrote nothing */
} acknowledgement;

#endif
