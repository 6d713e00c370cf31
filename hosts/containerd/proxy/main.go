// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

// waybill-containerd-proxy serves containerd's API on a socket of its own: images from a Waybill
// store, everything else from the containerd behind it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli"
)

// version is set by the build.
var version = "unknown"

func main() {
	app := cli.NewApp()
	app.Name = "waybill-containerd-proxy"
	app.Usage = "containerd's images in a Waybill store"
	app.Version = version
	app.Flags = configFlags()
	app.HideHelp = false
	app.Description = "Serves containerd's API on a socket of its own: images from a Waybill store, everything\n" +
		"   else from the containerd behind it. Runs until SIGTERM or SIGINT."
	app.Action = func(flags *cli.Context) error {
		if flags.NArg() > 0 {
			return cli.NewExitError(fmt.Sprintf("no such command: %s", flags.Args().First()), 2)
		}
		return withConfig(flags, serve)
	}
	migrationFlags := []cli.Flag{
		cli.BoolFlag{Name: "overwrite", Usage: "replace images of the same name that differ"},
		cli.BoolFlag{Name: "move", Usage: "forget each image where it was, once it is copied"},
	}
	app.Commands = []cli.Command{
		{
			Name:  "import",
			Usage: "copy the image records of every namespace from containerd into the store",
			Description: "containerd runs, the proxy does not. Content is shared and stays where it is; times are kept.\n" +
				"   Images of the same name are left as they are here. May be repeated.",
			Flags:  migrationFlags,
			Action: migrationAction((*migration).fromContainerd),
		},
		{
			Name:  "export",
			Usage: "copy the image records of every namespace from the store into containerd",
			Description: "The way back. containerd runs, the proxy does not. containerd gives the records its own times.\n" +
				"   Images of the same name are left as they are there. May be repeated.",
			Flags:  migrationFlags,
			Action: migrationAction((*migration).toContainerd),
		},
		{
			Name:  "check-config",
			Usage: "read the settings, report what is wrong with them, and do nothing else",
			Action: func(flags *cli.Context) error {
				return withConfig(flags, func(config) error { return nil })
			},
		},
	}
	if err := app.Run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "waybill-containerd-proxy: %s\n", err)
		os.Exit(1)
	}
}

func migrationAction(direction func(*migration, context.Context) (migrated, error)) cli.ActionFunc {
	return func(flags *cli.Context) error {
		return withConfig(flags, func(c config) error {
			return migrate(c, flags.Bool("overwrite"), flags.Bool("move"), direction)
		})
	}
}

func withConfig(flags *cli.Context, action func(config) error) error {
	c, err := readConfig(flags)
	if err != nil {
		return cli.NewExitError("waybill-containerd-proxy: "+err.Error(), 2)
	}
	c.startLog()
	return action(c)
}
