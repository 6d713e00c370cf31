// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/namespaces"
	"github.com/sirupsen/logrus"
)

// Config says which store to open, and how.
type Config struct {
	// Root is the directory of the store. It is made if it does not exist.
	Root string
	// ContentRoot is containerd's content directory (…/io.containerd.content.v1.content), where
	// recovery looks for the layers that images depend on. "" does not look.
	ContentRoot string
	// Provider shows manifests, so that the layers of an image are recorded with it. nil: the
	// target stands for them.
	Provider content.Provider
	// Log gets the library's log lines, on threads of the library. It must not call the store.
	Log func(severity int, message string)
}

// Store is an open store. It implements images.Store; Held does, too, and keeps content alive.
// All methods may be called by any goroutine.
type Store struct {
	store       C.call_store
	completions *completions
	log         cgo.Handle
	provider    content.Provider

	// Calls hold it shared, Close alone: a host that stops may still be answering its clients.
	use    sync.RWMutex
	closed bool

	id string // of the store, by which its leases are known

	// Recovery is what opening the store found: images, damage, … as the library reports it.
	Recovery map[string]interface{}
}

var _ images.Store = (*Store)(nil)

// LogTo makes the library's log lines lines of this log.
func LogTo(log *logrus.Entry) func(severity int, message string) {
	return func(severity int, message string) {
		switch {
		case severity <= C.WAYBILL_LOG_ERROR:
			log.Error(message)
		case severity <= C.WAYBILL_LOG_WARNING:
			log.Warn(message)
		default:
			log.Info(message)
		}
	}
}

//export waybillLog
func waybillLog(handle C.uintptr_t, severity C.int32_t, message *C.char) {
	cgo.Handle(handle).Value().(func(int, string))(int(severity), C.GoString(message))
}

// Open opens a store for reading and writing, mends what a crash left, and returns when all images
// are in memory.
func (l *Library) Open(config Config) (*Store, error) {
	settings := map[string]interface{}{"root": config.Root, "references": "opaque"}
	if config.ContentRoot != "" {
		settings["layers"] = map[string]string{"root": config.ContentRoot, "layout": "oci"}
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	log := config.Log
	if log == nil {
		log = func(int, string) {}
	}
	s := &Store{provider: config.Provider, log: cgo.NewHandle(log)}
	cText := C.CString(string(text))
	defer C.free(unsafe.Pointer(cText))
	e := newError()
	if status := C.call_create(l.api, cText, C.uintptr_t(s.log), &s.store, e); status != C.WAYBILL_OK {
		s.log.Delete()
		return nil, fmt.Errorf("store %s: %w", config.Root, failureOf(status, e))
	}
	if err := s.recover(); err != nil {
		C.call_destroy(s.store, nil)
		C.call_free(s.store)
		s.log.Delete()
		return nil, fmt.Errorf("store %s: %w", config.Root, err)
	}
	return s, nil
}

func (s *Store) recover() error {
	var report *C.char
	e := newError()
	if status := C.call_recover(s.store, &report, e); status != C.WAYBILL_OK {
		return failureOf(status, e)
	}
	err := json.Unmarshal([]byte(C.GoString(report)), &s.Recovery)
	C.call_text_free(report)
	if err == nil {
		s.id, err = identityOf(s.Recovery)
	}
	if err == nil {
		s.completions, err = newCompletions(s.store)
	}
	return err
}

// identityOf finds a store's identity in what recovery reports. Without one, all leases of all stores
// would look alike.
func identityOf(recovery map[string]interface{}) (string, error) {
	id, _ := recovery["storeId"].(string)
	if id == "" {
		return "", errors.New("the library's report of the recovery names no storeId")
	}
	return id, nil
}

// lastNamespace is one that has been found valid: nearly all calls are of the same, and containerd's
// check is an expression that takes a quarter of a lookup.
var lastNamespace atomic.Value

func namespaceOf(ctx context.Context) (string, error) {
	namespace, _ := namespaces.Namespace(ctx)
	if namespace != "" && namespace == lastNamespace.Load() {
		return namespace, nil
	}
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err == nil {
		lastNamespace.Store(namespace)
	}
	return namespace, err
}

// enter is for every call that uses the open store; leave for when it has ended.
func (s *Store) enter() error {
	s.use.RLock()
	if s.closed {
		s.use.RUnlock()
		return fmt.Errorf("the store is closed: %w", errdefs.ErrUnavailable)
	}
	return nil
}

func (s *Store) leave() { s.use.RUnlock() }

// Close completes what is under way and gives the store's lock back. Calls that come later fail.
func (s *Store) Close() error {
	s.use.Lock()
	defer s.use.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	e := newError()
	if status := C.call_destroy(s.store, e); status != C.WAYBILL_OK {
		return failureOf(status, e)
	}
	s.completions.close()
	C.call_free(s.store)
	s.log.Delete()
	return nil
}

// mayHaveLost tells that a record that is not here may have been, or may come back: the disk failed,
// or damage was found and the loss was not accepted.
func (s *Store) mayHaveLost() (bool, error) {
	statistics, err := s.Statistics()
	return mayHaveLost(statistics), err
}

// mayHaveLost takes what is not said for the worse.
func mayHaveLost(statistics map[string]interface{}) bool {
	return statistics["degraded"] != false || statistics["readOnly"] != false
}

// TakesChanges tells whether the store can still be written. It cannot after the disk failed.
func (s *Store) TakesChanges() (bool, error) {
	statistics, err := s.Statistics()
	return statistics["readOnly"] == false, err
}

// Statistics are the library's counters and sizes, by name.
func (s *Store) Statistics() (map[string]interface{}, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	name := C.CString("stats")
	defer C.free(unsafe.Pointer(name))
	var report *C.char
	e := newError()
	if status := C.call_report(s.store, name, &report, e); status != C.WAYBILL_OK {
		return nil, failureOf(status, e)
	}
	defer C.call_text_free(report)
	var statistics map[string]interface{}
	err := json.Unmarshal([]byte(C.GoString(report)), &statistics)
	return statistics, err
}
