/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Which call is to fail, and what has been called. The calls themselves are in fault_calls.c and
 * fault_memory.cpp: defined in the program, they stand in for the C library's in every library
 * that it loads.
 * A call counts while faults are armed and it is made on a thread of the library, or on the test's
 * own thread between fault_enter_library and fault_leave_library.
 */
#ifndef WAYBILL_TESTS_CRASH_FAULT_PLAN_H
#define WAYBILL_TESTS_CRASH_FAULT_PLAN_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fault_call {
    CALL_OPEN,
    CALL_READ,
    CALL_WRITE,
    CALL_SYNC,
    CALL_ALLOCATE,
    CALL_LINK,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_MKDIR,
    CALL_STAT,
    CALL_CHMOD,
    CALL_LOCK,
    CALL_EVENTFD,
    CALL_THREAD,
    CALL_NEW,
    CALL_MALLOC,
    CALL_QT_MEMORY, /**< new and malloc, called by Qt itself */
    CALL_KINDS
} fault_call;

/** Instead of an errno: only half of what was asked for is done. */
#define FAULT_SHORT (-1)

typedef struct fault_plan {
    fault_call call;
    long n;       /**< the first call that fails, from 1; 0: none */
    long lasting; /**< and so many in a row */
    int error;    /**< errno or FAULT_SHORT; memory: ENOMEM */
} fault_plan;

/** Counts from now on, and from 0. The calling thread is the test's own. */
void fault_arm(const fault_plan *plan);
void fault_disarm(void);
/** Goes on where fault_disarm stopped. */
void fault_rearm(void);
void fault_enter_library(void);
void fault_leave_library(void);

long fault_calls_made(fault_call call);
long fault_hits(void);
/** Whether a sync that had failed was tried again without anything in between. */
int fault_sync_was_retried(void);
/** A recover that is tried again reads and writes anew what it syncs. */
void fault_forget_failed_sync(void);

/** Finds out which code is whose, once everything is loaded. */
void fault_watch_loaded_code(void);

/** Counts one call; the error that it is to fail with, or 0. */
int fault_due(fault_call call);

#ifdef __cplusplus
}
#endif

#endif
