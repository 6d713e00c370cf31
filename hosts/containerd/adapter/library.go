// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

// Package adapter keeps containerd's image records in a Waybill store.
//
// Data flows one way: an images.Store of containerd's (Store, and Held, which keeps the content of
// each image from the garbage collector) → the calls of calls.c → libwaybill.so → disk. What a
// record may hold and who wins a race is decided in the library.
package adapter

// #cgo CFLAGS: -std=gnu11 -O2 -Wall -I${SRCDIR}/../../../include
// #cgo LDFLAGS: -ldl
// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"unsafe"
)

// DefaultLibrary is found by the dynamic linker.
const DefaultLibrary = "libwaybill.so.1"

// Library is a loaded libwaybill.so. It is never unloaded.
type Library struct {
	api *C.waybill_api

	Path    string // of the file
	Version string // of the library, "major.minor.patch"
	ABI     uint32
	Type    string // of the plugin, in containerd's manner
	ID      string
}

// Load loads the library from a path, or by a name that the dynamic linker knows.
func Load(path string) (*Library, error) {
	if path == "" {
		path = DefaultLibrary
	}
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))
	var place [4096]C.char
	var fault [512]C.char
	api := C.call_load(cPath, &place[0], C.size_t(len(place)), &fault[0], C.size_t(len(fault)))
	if api == nil {
		return nil, fmt.Errorf("cannot load %s: %s", path, C.GoString(&fault[0]))
	}
	return &Library{
		api:     api,
		Path:    C.GoString(&place[0]),
		Version: C.GoString(api.plugin_version),
		ABI:     uint32(api.abi_version),
		Type:    C.GoString(api.plugin_type),
		ID:      C.GoString(api.plugin_id),
	}, nil
}
