// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

// #include "calls.h"
import "C"

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// completions hands the outcomes of operations to the goroutines that wait for them. The library's
// eventfd lies in Go's netpoller: who waits is parked and holds no thread.
type completions struct {
	store C.call_store
	file  *os.File // a duplicate: Go closes what it polls, the library closes its own
	ended chan struct{}

	mutex   sync.Mutex
	last    uint64
	waiting map[uint64]chan outcome
}

type outcome struct {
	revision uint64
	existed  bool
	failure  *Failure
}

var outcomeChannels = sync.Pool{New: func() interface{} { return make(chan outcome, 1) }}

func newCompletions(store C.call_store) (*completions, error) {
	fd, err := unix.FcntlInt(uintptr(C.call_queue_fd(store)), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file, err := polled(fd, "the queue of completions")
	if err != nil {
		return nil, err
	}
	c := &completions{
		store:   store,
		file:    file,
		ended:   make(chan struct{}),
		waiting: map[uint64]chan outcome{},
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		c.file.Close()
		return nil, err
	}
	go c.run(raw)
	return c, nil
}

// polled is a file that lies in Go's netpoller. os.NewFile says nothing where there is no room in it
// (fs.epoll.max_user_watches); the first wait would end at once with an error, as at a close.
func polled(fd int, name string) (*os.File, error) {
	file := os.NewFile(uintptr(fd), name)
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s cannot be waited for: %w", name, err)
	}
	return file, nil
}

// do submits an operation under a token of its own and waits for its outcome.
func (c *completions) do(submit func(token C.uint64_t, now *C.plain_outcome) C.int) outcome {
	channel := outcomeChannels.Get().(chan outcome)
	defer outcomeChannels.Put(channel)
	c.mutex.Lock()
	c.last++
	token := c.last
	c.waiting[token] = channel
	c.mutex.Unlock()
	now := plainOutcomes.Get().(*C.plain_outcome)
	defer plainOutcomes.Put(now)
	if submit(C.uint64_t(token), now) != 0 {
		c.mutex.Lock()
		delete(c.waiting, token)
		c.mutex.Unlock()
		return outcomeOf(now)
	}
	return <-channel
}

var plainOutcomes = sync.Pool{New: func() interface{} {
	return &C.plain_outcome{error: *newError()}
}}

func outcomeOf(plain *C.plain_outcome) outcome {
	if plain.status != C.WAYBILL_OK {
		return outcome{failure: failureOf(plain.status, &plain.error)}
	}
	return outcome{revision: uint64(plain.revision), existed: plain.existed != 0}
}

func (c *completions) run(raw syscall.RawConn) {
	defer close(c.ended)
	plain := make([]C.plain_outcome, 64)
	var count C.uint32_t
	for {
		// Nothing is read: draining the queue is what makes the descriptor unreadable.
		err := raw.Read(func(uintptr) bool {
			count = C.call_drain(c.store, &plain[0], C.uint32_t(len(plain)))
			return count > 0
		})
		if err != nil {
			return // Closed.
		}
		c.mutex.Lock()
		for i := range plain[:count] {
			token := uint64(plain[i].token)
			c.waiting[token] <- outcomeOf(&plain[i])
			delete(c.waiting, token)
		}
		c.mutex.Unlock()
	}
}

// close is for when no operation is under way any more.
func (c *completions) close() {
	c.file.Close()
	<-c.ended
}

func newError() *C.waybill_error {
	e := new(C.waybill_error)
	e.struct_size = C.uint32_t(C.sizeof_waybill_error)
	return e
}
