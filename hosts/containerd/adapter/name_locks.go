// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"
	"sync"
)

// nameLocks are one lock for each name that is in use. A call that takes long, such as one that waits
// for the collector, holds up those of the same name and no others.
type nameLocks struct {
	mutex sync.Mutex
	locks map[[2]string]*nameLock
}

type nameLock struct {
	turn  chan struct{}
	users int
}

// lock waits for its turn, or for the end of the context.
func (n *nameLocks) lock(ctx context.Context, namespace, name string) (unlock func(), err error) {
	key := [2]string{namespace, name}
	n.mutex.Lock()
	if n.locks == nil {
		n.locks = map[[2]string]*nameLock{}
	}
	lock := n.locks[key]
	if lock == nil {
		lock = &nameLock{turn: make(chan struct{}, 1)}
		n.locks[key] = lock
	}
	lock.users++
	n.mutex.Unlock()
	leave := func() {
		n.mutex.Lock()
		defer n.mutex.Unlock()
		if lock.users--; lock.users == 0 {
			delete(n.locks, key)
		}
	}
	select {
	case lock.turn <- struct{}{}:
		return func() { <-lock.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
