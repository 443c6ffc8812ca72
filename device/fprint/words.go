package fprint

import (
	"errors"
	"slices"

	"github.com/godbus/dbus/v5"

	"github.com/faceprint/faceprint/device"
)

// Names on the bus.
const (
	busName     = "net.reactivated.Fprint"
	managerFace = busName + ".Manager"
	deviceFace  = busName + ".Device"
	managerPath = dbus.ObjectPath("/net/reactivated/Fprint/Manager")
	devicePath  = dbus.ObjectPath("/net/reactivated/Fprint/Device/0")
)

// Errors of fprintd, by the last part of their names.
const (
	errClaimDevice      = "ClaimDevice"
	errAlreadyInUse     = "AlreadyInUse"
	errInternal         = "Internal"
	errPermission       = "PermissionDenied"
	errNoPrints         = "NoEnrolledPrints"
	errNoAction         = "NoActionInProgress"
	errFingerName       = "InvalidFingername"
	errPrintsNotDeleted = "PrintsNotDeleted"
	errNoDevice         = "NoSuchDevice"
)

func fail(name, text string) *dbus.Error {
	return dbus.NewError(busName+".Error."+name, []any{text})
}

// anyFinger asks for whichever finger the person has.
const anyFinger = "any"

// fingers are the names that fprintd knows.
var fingers = []string{
	"left-thumb", "left-index-finger", "left-middle-finger", "left-ring-finger", "left-little-finger",
	"right-thumb", "right-index-finger", "right-middle-finger", "right-ring-finger", "right-little-finger",
}

func isFinger(name string) bool { return slices.Contains(fingers, name) }

// retryWord is fprintd's word for what the person should do, without the
// prefix; "" where fprintd has none: a client that waits for a finger needs
// not be told so, and knows nothing of faces.
func retryWord(e device.Event) string {
	if e.Kind != "hint" || e.Step != device.Finger {
		return ""
	}
	switch e.Hint {
	case "press-again", "clean-finger", "use-same-finger", "use-other-finger", "start-again", "wait":
		return "retry-scan"
	case "press-flat":
		return "finger-not-centered"
	case "press-longer":
		return "swipe-too-short"
	}
	return ""
}

// verifyWord is how an attempt ended; "" where it goes on: the person was
// asked for something that they can still do.
func verifyWord(d device.Decision, err error, there bool) string {
	retry := (*device.RetryError)(nil)
	switch {
	case errors.As(err, &retry), errors.Is(err, device.ErrBusy):
		return ""
	case err != nil && !there:
		return "verify-disconnected"
	case err != nil:
		return "verify-unknown-error"
	case d.Granted:
		return "verify-match"
	case slices.Contains(d.Reasons, device.LockedOut), slices.Contains(d.Reasons, device.FingerElsewhere):
		return "verify-unknown-error"
	}
	return "verify-no-match"
}

// enrolWord is how an enrolment ended.
func enrolWord(err error, there bool) string {
	retry := (*device.RetryError)(nil)
	switch {
	case err == nil:
		return "enroll-completed"
	case errors.As(err, &retry) && slices.Contains(retry.Hints, "use-other-finger"):
		return "enroll-duplicate"
	case errors.As(err, &retry):
		return "enroll-failed"
	case errors.Is(err, device.ErrDuplicate):
		return "enroll-duplicate"
	case !there:
		return "enroll-disconnected"
	}
	return "enroll-unknown-error"
}
