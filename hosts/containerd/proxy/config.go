// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pelletier/go-toml"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli"
)

// configPath is set by the build, to where the settings are installed.
var configPath = "/etc/waybill/containerd-proxy.toml"

// config is what containerd-proxy.toml documents.
type config struct {
	Containerd string        `toml:"containerd"`
	Store      string        `toml:"store"`
	Library    string        `toml:"library"`
	Content    string        `toml:"content"`
	Drain      string        `toml:"drain"`
	Socket     socketConfig  `toml:"socket"`
	Log        logConfig     `toml:"log"`
	Metrics    metricsConfig `toml:"metrics"`
}

type socketConfig struct {
	Path string `toml:"path"`
	Mode string `toml:"mode"`
	GID  int64  `toml:"gid"`
}

type logConfig struct {
	Level  string `toml:"level"`
	Format string `toml:"format"`
}

type metricsConfig struct {
	Address string `toml:"address"`
}

func defaultConfig() config {
	return config{
		Containerd: "/run/containerd/containerd.sock",
		Store:      "/var/lib/waybill-containerd",
		Library:    "libwaybill.so.1",
		Content:    "/var/lib/containerd/io.containerd.content.v1.content",
		Drain:      "30s",
		Socket:     socketConfig{Path: "/run/waybill/containerd.sock", Mode: "0660"},
		Log:        logConfig{Level: "info", Format: "logfmt"},
	}
}

// settings are the flags that stand for a key of the file each.
var settings = []struct {
	flag, usage string
	of          func(c *config) *string
}{
	{"containerd", "containerd's `SOCKET`", func(c *config) *string { return &c.Containerd }},
	{"store", "`DIRECTORY` of the store", func(c *config) *string { return &c.Store }},
	{"library", "`PATH` or name of the library", func(c *config) *string { return &c.Library }},
	{"content", "containerd's content `DIRECTORY`, to check images against", func(c *config) *string { return &c.Content }},
	{"drain", "`TIME` that calls under way may take when the proxy stops", func(c *config) *string { return &c.Drain }},
	{"socket", "`SOCKET` to serve", func(c *config) *string { return &c.Socket.Path }},
	{"socket-mode", "the socket's `MODE`", func(c *config) *string { return &c.Socket.Mode }},
	{"log-level", "error, warn, info or debug", func(c *config) *string { return &c.Log.Level }},
	{"log-format", "logfmt or json", func(c *config) *string { return &c.Log.Format }},
	{"metrics", "`ADDRESS` for Prometheus", func(c *config) *string { return &c.Metrics.Address }},
}

func configFlags() []cli.Flag {
	flags := []cli.Flag{cli.StringFlag{Name: "config", Value: configPath, Usage: "`FILE` with the settings"}}
	for _, setting := range settings {
		defaults := defaultConfig()
		flags = append(flags, cli.StringFlag{
			Name:  setting.flag,
			Usage: fmt.Sprintf("%s (default: %q)", setting.usage, *setting.of(&defaults)),
		})
	}
	return append(flags, cli.Int64Flag{Name: "socket-gid", Usage: "`GID` of the socket's group"})
}

// readConfig is the file's settings with the flags' over them, checked.
func readConfig(flags *cli.Context) (config, error) {
	c := defaultConfig()
	path := flags.GlobalString("config")
	file, err := os.Open(path)
	switch {
	case err == nil:
		defer file.Close()
		if err := toml.NewDecoder(file).Strict(true).Decode(&c); err != nil {
			return c, fmt.Errorf("%s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist) || flags.GlobalIsSet("config"):
		return c, err
	}
	for _, setting := range settings {
		if flags.GlobalIsSet(setting.flag) {
			*setting.of(&c) = flags.GlobalString(setting.flag)
		}
	}
	if flags.GlobalIsSet("socket-gid") {
		c.Socket.GID = flags.GlobalInt64("socket-gid")
	}
	return c, c.check()
}

func (c *config) check() error {
	for _, path := range []struct{ key, value string }{
		{"containerd", c.Containerd}, {"store", c.Store}, {"socket.path", c.Socket.Path},
	} {
		if !filepath.IsAbs(path.value) {
			return fmt.Errorf("%s: %q is no absolute path", path.key, path.value)
		}
	}
	if c.Content != "" && !filepath.IsAbs(c.Content) {
		return fmt.Errorf("content: %q is no absolute path", c.Content)
	}
	if resolved(c.Containerd) == resolved(c.Socket.Path) {
		return fmt.Errorf("socket.path: %s is containerd's own", c.Socket.Path)
	}
	if _, err := c.socketMode(); err != nil {
		return err
	}
	if c.Socket.GID < 0 || c.Socket.GID >= 1<<32-1 {
		return fmt.Errorf("socket.gid: %d is no group", c.Socket.GID) // -1 would leave it as it is.
	}
	if drain, err := time.ParseDuration(c.Drain); err != nil || drain < 0 {
		return fmt.Errorf("drain: %q is no duration such as \"30s\"", c.Drain)
	}
	if _, err := logrus.ParseLevel(c.Log.Level); err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	if c.Log.Format != "logfmt" && c.Log.Format != "json" {
		return fmt.Errorf("log.format: %q is neither logfmt nor json", c.Log.Format)
	}
	return nil
}

// resolved is a path whose directory goes through no symbolic link.
func resolved(path string) string {
	if directory, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(directory, filepath.Base(path))
	}
	return filepath.Clean(path)
}

func (c *config) socketMode() (os.FileMode, error) {
	mode, err := strconv.ParseUint(c.Socket.Mode, 8, 32)
	if err != nil || mode > 0777 {
		return 0, fmt.Errorf("socket.mode: %q is no mode such as \"0660\"", c.Socket.Mode)
	}
	return os.FileMode(mode), nil
}

func (c *config) drain() time.Duration {
	drain, _ := time.ParseDuration(c.Drain) // Checked.
	return drain
}

// contentRoot is where to look for layers: nowhere if containerd has not made it yet.
func (c *config) contentRoot() string {
	if _, err := os.Stat(c.Content); err != nil {
		return ""
	}
	return c.Content
}

func (c *config) startLog() {
	level, _ := logrus.ParseLevel(c.Log.Level) // Checked.
	logrus.SetLevel(level)
	logrus.SetOutput(os.Stderr)
	if c.Log.Format == "json" {
		logrus.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	} else {
		logrus.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	}
}
