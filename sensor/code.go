package sensor

import (
	"errors"
	"fmt"
)

// Code is a confirmation code, the first byte of every answer (manual, chapter
// V; of each instruction on its own page).
type Code byte

// Confirmation codes.
const (
	OK              Code = 0x00
	PacketError     Code = 0x01 // the module received a damaged packet
	NoFinger        Code = 0x02
	ImageFail       Code = 0x03
	ImageMessy      Code = 0x06
	FewFeatures     Code = 0x07
	NoMatch         Code = 0x08 // 1:1
	NotFound        Code = 0x09 // 1:N
	MergeFail       Code = 0x0A
	BadID           Code = 0x0B
	TemplateRead    Code = 0x0C
	TemplateUpload  Code = 0x0D
	DataReceive     Code = 0x0E
	ImageUpload     Code = 0x0F
	DeleteFail      Code = 0x10
	EmptyFail       Code = 0x11
	WrongPassword   Code = 0x13
	NoImage         Code = 0x15
	FlashError      Code = 0x18
	Undefined       Code = 0x19
	BadRegister     Code = 0x1A
	BadValue        Code = 0x1B
	BadNotepad      Code = 0x1C
	PortFail        Code = 0x1D
	LibraryFull     Code = 0x1F
	WrongAddress    Code = 0x20
	VerifyFirst     Code = 0x21 // the password must be verified
	TemplateEmpty   Code = 0x22
	LibraryEmpty    Code = 0x24
	TimedOut        Code = 0x26
	AlreadyEnrolled Code = 0x27
	SensorFault     Code = 0x29
	IllegalData     Code = 0x35
	Unsupported     Code = 0xFC
	HardwareFault   Code = 0xFD
	ExecutionFailed Code = 0xFE
)

var codeText = map[Code]string{
	OK: "ok", PacketError: "packet arrived damaged", NoFinger: "no finger", ImageFail: "no image",
	ImageMessy: "image too messy", FewFeatures: "too few features", NoMatch: "no match", NotFound: "not found",
	MergeFail: "the captures do not belong together", BadID: "id out of range", TemplateRead: "template unreadable",
	TemplateUpload: "template upload failed", DataReceive: "data not received", ImageUpload: "image upload failed",
	DeleteFail: "delete failed", EmptyFail: "emptying failed", WrongPassword: "wrong password", NoImage: "no valid image",
	FlashError: "flash error", Undefined: "undefined error", BadRegister: "bad register", BadValue: "bad register value",
	BadNotepad: "bad notepad page", PortFail: "port failed", LibraryFull: "library full", WrongAddress: "wrong address",
	VerifyFirst: "password must be verified first", TemplateEmpty: "template empty", LibraryEmpty: "library empty",
	TimedOut: "timed out", AlreadyEnrolled: "already enrolled", SensorFault: "sensor fault", IllegalData: "illegal data",
	Unsupported: "instruction not supported", HardwareFault: "hardware fault", ExecutionFailed: "execution failed",
}

func (c Code) String() string {
	if s, ok := codeText[c]; ok {
		return fmt.Sprintf("%s (%02X)", s, byte(c))
	}
	return fmt.Sprintf("unknown code %02X", byte(c))
}

// CodeError is an answer other than OK. Its text names the instruction, its page
// in the manual of the R503 and the code.
type CodeError struct {
	Instruction Instruction
	Code        Code
}

func (e *CodeError) Error() string {
	answer := e.Code.String()
	if e.Instruction == GetImageEx && e.Code == FewFeatures { // which means another thing there
		answer = "poor image (07)"
	}
	if page := instructions[e.Instruction].page; page > 0 {
		return fmt.Sprintf("sensor: %v (manual p. %d): the module answers %s", e.Instruction, page, answer)
	}
	return fmt.Sprintf("sensor: %v: the module answers %s", e.Instruction, answer)
}

// Hint tells the person at the reader what to do. The values are stable.
type Hint string

// Hints.
const (
	HintNoFinger Hint = "press-finger"     // nothing on the sensor
	HintAgain    Hint = "press-again"      // the picture did not come out
	HintClean    Hint = "clean-finger"     // too messy
	HintFlat     Hint = "press-flat"       // too few features: press flat, in the middle
	HintLift     Hint = "lift-finger"      // between two captures
	HintSame     Hint = "use-same-finger"  // the captures of an enrolment do not belong together
	HintLonger   Hint = "press-longer"     // lifted before the picture was whole
	HintOther    Hint = "use-other-finger" // this one is enrolled already
	HintAnew     Hint = "start-again"      // the module lost its power, and the captures of an enrolment with it
	HintWait     Hint = "wait"             // the module's library is being filled
)

// RetryError is a no that the person can mend. It never counts as a failure.
type RetryError struct {
	Hint  Hint
	Cause error // may be nil
}

func (e *RetryError) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("sensor: %s", e.Hint)
	}
	return fmt.Sprintf("sensor: %s: %v", e.Hint, e.Cause)
}

func (e *RetryError) Unwrap() error { return e.Cause }

// AddressError is a module that answers, but has another address than the one it
// was called by. Most say nothing then.
type AddressError struct {
	Port    string
	Address uint32
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("sensor: %s: the module there has the address 0x%08X; name it with --address, or as finger.address in the daemon's configuration", e.Port, e.Address)
}

func (e *AddressError) Unwrap() error { return ErrNoModule }

// Faults. Every error of the driver that is no *RetryError wraps one of these
// or is a *CodeError.
var (
	// ErrTimeout: the module did not answer in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrGone: the line is closed or unplugged.
	ErrGone = errors.New("line is gone")
	// ErrProtocol: an answer that does not fit the instruction.
	ErrProtocol = errors.New("answer does not fit")
	// ErrValue: what was asked for is nothing that a module can be set to.
	ErrValue = errors.New("modules have no such setting")
	// ErrNoModule: nothing that answers like a module on this port.
	ErrNoModule = errors.New("no fingerprint module")
	// ErrPassword: the module wants another password.
	ErrPassword = errors.New("wrong module password")
	// ErrTemplate: bytes that cannot be a template of this module.
	ErrTemplate = errors.New("no template of this module")
	// ErrDoubt: what a module answers that lies, and what a wire that loses
	// packets makes of an honest answer: a decoy that matched as the template
	// before it did, a slot that holds something else. It counts as a failure.
	ErrDoubt = errors.New("the wire loses packets, or the module lies")
	// ErrStale: the probe is no longer what lies in the module's buffer.
	ErrStale = errors.New("probe is no longer in the module")
)

// retry turns the codes that a person can mend into hints.
func retry(err error) error {
	e := (*CodeError)(nil)
	if !errors.As(err, &e) {
		return err
	}
	hint := map[Code]Hint{
		NoFinger: HintNoFinger, ImageFail: HintAgain, ImageMessy: HintClean, FewFeatures: HintFlat,
		NoImage: HintLonger, MergeFail: HintSame,
	}[e.Code]
	if hint == "" {
		return err
	}
	return &RetryError{Hint: hint, Cause: err}
}
