// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

// #include "calls.h"
import "C"

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/containerd/containerd/errdefs"
)

// Failure is what the library says of a call that failed.
type Failure struct {
	Code     int           // WAYBILL_E…, see waybill.h
	Field    string        // the argument at fault, or ""
	Position int64         // of the offending byte in Field, or -1
	Errno    syscall.Errno // of the system call behind it, or 0
	Message  string
}

func (f *Failure) Error() string {
	if f.Field == "" {
		return f.Message
	}
	return fmt.Sprintf("%s: %s", f.Field, f.Message)
}

// Unwrap gives the class of containerd's errors, so that errdefs.IsNotFound and the like work and
// the right gRPC code is sent.
func (f *Failure) Unwrap() error {
	switch f.Code {
	case C.WAYBILL_ENOTFOUND:
		return errdefs.ErrNotFound
	case C.WAYBILL_EEXIST:
		return errdefs.ErrAlreadyExists
	case C.WAYBILL_EINVAL, C.WAYBILL_ELIMIT:
		return errdefs.ErrInvalidArgument
	case C.WAYBILL_ECONFLICT, C.WAYBILL_EDEGRADED, C.WAYBILL_EMODE, C.WAYBILL_ENOTSTORE,
		C.WAYBILL_EFORMAT:
		return errdefs.ErrFailedPrecondition
	case C.WAYBILL_ELOCKED, C.WAYBILL_EIO, C.WAYBILL_ENOSPC, C.WAYBILL_EREADONLY, C.WAYBILL_ESTATE,
		C.WAYBILL_EAGAIN, C.WAYBILL_ENOMEM:
		return errdefs.ErrUnavailable
	case C.WAYBILL_ECANCELED:
		return errdefs.ErrUnavailable
	}
	return errdefs.ErrUnknown
}

// IsLocked tells whether another process has the store open.
func (f *Failure) IsLocked() bool { return f.Code == C.WAYBILL_ELOCKED }

// isUncertain tells that the operation may have happened all the same, as the next start will show.
func isUncertain(err error) bool {
	var failure *Failure
	return errors.As(err, &failure) && (failure.Code == C.WAYBILL_EIO || failure.Code == C.WAYBILL_EINTERNAL)
}

// conflicts tells whether the record changed between reading and writing it.
func (f *Failure) conflicts() bool { return f.Code == C.WAYBILL_ECONFLICT }

func failureOf(status C.int32_t, e *C.waybill_error) *Failure {
	return &Failure{
		Code:     int(status),
		Field:    C.GoString(&e.field[0]),
		Position: int64(e.position),
		Errno:    syscall.Errno(e.sys_errno),
		Message:  C.GoString(&e.message[0]),
	}
}
