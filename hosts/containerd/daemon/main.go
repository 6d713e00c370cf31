// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

// waybill-containerd is containerd's own daemon with its image store replaced: records are kept by
// libwaybill.so, loaded into this process. Flags, configuration and everything else are containerd's.
package main

import (
	"fmt"
	"os"

	"github.com/containerd/containerd/cmd/containerd/command"
	"github.com/containerd/containerd/pkg/seed"
)

func main() {
	seed.WithTimeAndRand()
	app := command.App()
	app.Name = "waybill-containerd"
	if err := app.Run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "waybill-containerd: %s\n", err)
		os.Exit(1)
	}
}
