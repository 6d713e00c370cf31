// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Of proxies that find a socket which nobody serves, one replaces it, and the others see that one.
func TestOfProxiesThatStartTogetherOneServes(t *testing.T) {
	c := defaultConfig()
	c.Socket.GID = int64(os.Getgid())
	for round := 0; round < 50; round++ {
		c.Socket.Path = filepath.Join(t.TempDir(), "sock")
		left, err := net.Listen("unix", c.Socket.Path)
		if err != nil {
			t.Fatal(err)
		}
		left.(*net.UnixListener).SetUnlinkOnClose(false)
		left.Close()
		var all sync.WaitGroup
		listeners := make([]net.Listener, 4)
		for i := range listeners {
			i := i
			all.Add(1)
			go func() {
				defer all.Done()
				listeners[i], _ = listen(c)
			}()
		}
		all.Wait()
		serving := 0
		for _, listener := range listeners {
			if listener != nil {
				serving++
				defer listener.Close()
			}
		}
		if serving != 1 {
			t.Fatalf("round %d: %d of 4 serve %s", round, serving, c.Socket.Path)
		}
	}
}
