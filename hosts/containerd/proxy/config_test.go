// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"strings"
	"testing"
)

func TestGroupsAreThoseThatTheSystemHas(t *testing.T) {
	for gid, is := range map[int64]bool{0: true, 1000: true, 1<<31 + 5: true, 1<<32 - 2: true,
		-1: false, -5: false, 1<<32 - 1: false, 1 << 32: false} {
		c := defaultConfig()
		c.Socket.GID = gid
		if err := c.check(); is != (err == nil) || !is && !strings.Contains(err.Error(), "socket.gid") {
			t.Errorf("%d: %v", gid, err)
		}
	}
}
