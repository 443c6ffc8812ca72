// Package fprint is the device as fprintd would be it: it owns
// net.reactivated.Fprint on the system bus, so that Debian's unmodified
// pam_fprintd, the fprintd-* commands and the desktops' settings work with it
// (interface of fprintd 1.94).
//
// There is one virtual device, listed while the module is there. A client
// claims it for an account, and then verifies or enrols. Whose account it is
// says the device (device.Login); one that is nobody's has no fingers.
//
// How an attempt ends is told in fprintd's words:
//
//	granted                       verify-match
//	refused                       verify-no-match
//	retry                         verify-retry-scan and the like; it goes on
//	locked out                    verify-unknown-error: the client falls back
//	                              to the password at once, where no-match would
//	                              make it ask for the finger again
//	module gone                   verify-disconnected
//	every other fault             verify-unknown-error
//
// The policy decides, as everywhere: where it wants the face too, the camera
// looks while the finger is waited for.
//
// Only an account that is a person's can be claimed. A claim ends with Release,
// when its client leaves the bus, or when another client asks and the holder has
// neither begun nor ended an action for a while, or has had it for long, so that a
// client that hangs, or means to, keeps nobody out for ever. To claim it again at once
// begins no new claim towards other accounts. Attempts are patient: whoever else asks the
// device is served first, and the attempt begins again. The same happens over
// a suspend.
//
// Who may do what: root everything; an account only what is its own, and
// enrolling or deleting only where polkit says yes to
// net.reactivated.fprint.device.enroll. Where there is no polkit the answer is
// no.
package fprint
