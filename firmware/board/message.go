package board

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/faceprint/faceprint/firmware"
)

// Types of questions, section 6.
const (
	askInfo    = 0x01
	askHello   = 0x02
	askPair    = 0x03
	askConfirm = 0x04
	askLoader  = 0x05

	askBeat         = 0x41
	askChallenge    = 0x42
	askUnlock       = 0x43
	askLock         = 0x44
	askEvents       = 0x45
	askSelfTest     = 0x46
	askSignal       = 0x47
	askWipe         = 0x48
	askSealedLoader = 0x49

	refusedPlain  = 0xBF
	refusedSealed = 0xFF
)

const protocol = 1

// Code is why a board refuses a question, section 6.4.
type Code byte

// Codes.
const (
	Malformed Code = iota + 1
	Unknown
	Unpaired
	Paired
	Presence
	Tamper
	NoSession
	BadTag
	Replay
	BadChallenge
	BadHold
	Busy
	Fault
)

var codes = map[Code][2]string{
	Malformed:    {"malformed", "this tool and the board's firmware are of different versions: 'faceprint flash' brings the board up to date"},
	Unknown:      {"it does not know the question", "this tool and the board's firmware are of different versions: 'faceprint flash' brings the board up to date"},
	Unpaired:     {"it is not paired", "'faceprint board pair' pairs it"},
	Paired:       {"it is paired", "use its key, or wipe it: 'faceprint board wipe', or hold the service button for 10 s"},
	Presence:     {"nobody pressed its service button", "press its service button (inside of the enclosure), close the enclosure and try again, all within 60 s"},
	Tamper:       {"its tamper switch is open", "close the enclosure; to pair it, press its service button before that, and run 'faceprint board pair' within 60 s"},
	NoSession:    {"there is no session", "try again"},
	BadTag:       {"the key is not the one it was paired with", "use the key of this board, or pair it again after holding the service button for 10 s"},
	Replay:       {"it saw the frame before", "somebody else may be on the line; try again"},
	BadChallenge: {"the challenge was used or is too old", "try again"},
	BadHold:      {"it does not unlock for so long", "from 0.1 to 30 s"},
	Busy:         {"not while the lock is open", "try again when it is shut"},
	Fault:        {"its flash or its state is damaged", "where it is paired, 'faceprint board selftest' tells what; replace the board"},
}

func (c Code) String() string {
	if t, ok := codes[c]; ok {
		return t[0]
	}
	return fmt.Sprintf("code %d", byte(c))
}

// Refused is a board's no.
type Refused struct {
	Code   Code
	Sealed bool // false: anybody on the line could have said it
}

func (e *Refused) Error() string { return "the board refuses: " + e.Code.String() }

// Advice is what to do about it.
func (e *Refused) Advice() string { return codes[e.Code][1] }

// Serial is a board's serial number.
type Serial [SerialSize]byte

func (s Serial) String() string { return hex.EncodeToString(s[:]) }

// Link is the state of the link as the board sees it, section 8.
type Link byte

// Lock is the state of the lock.
type Lock byte

// Door is the state of the door.
type Door byte

// States, section 8.
const (
	LinkUnpaired Link = iota
	LinkIdle
	LinkReady
	LinkTampered
)

const (
	LockShut Lock = iota
	LockGranted
	LockExit
	LockBoth // granted, and the exit button
)

const (
	DoorClosed Door = iota
	DoorOpen
	DoorForced
	DoorHeld
)

func word[T ~byte](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("state %d", byte(v))
}

func (l Link) String() string { return word(l, "unpaired", "idle", "ready", "tampered") }
func (l Lock) String() string { return word(l, "shut", "granted", "exit", "granted and exit") }

// Granted tells whether an unlock holds it open, alone or with the exit button.
func (l Lock) Granted() bool { return l == LockGranted || l == LockBoth }

func (d Door) String() string { return word(d, "closed", "open", "forced", "held") }

// Flags of Info.
const (
	FlagPaired = 1 << iota
	FlagConfirmed
	FlagTamper
	FlagProductionImage
	FlagProductionLoader
)

// Info is what a board says of itself to anybody, section 6.1. Nothing proves it.
type Info struct {
	Slot     byte // 'A' or 'B'
	Flags    byte
	Link     Link
	Board    uint32
	Serial   Serial
	Version  firmware.Version
	Rollback uint32
	Floor    uint32
	Loader   firmware.Version
}

// Name of the kind of board.
func (i Info) Name() string { return boardName(i.Board) }

func boardName(id uint32) string {
	if b, ok := firmware.BoardByID(id); ok {
		return b.Name
	}
	return fmt.Sprintf("board %d", id)
}

func (i Info) has(flag byte) bool { return i.Flags&flag != 0 }

// Paired tells whether it has a pairing key.
func (i Info) Paired() bool { return i.has(FlagPaired) }

// Confirmed tells whether the running image is kept at the next start.
func (i Info) Confirmed() bool { return i.has(FlagConfirmed) }

// Tampered tells whether its enclosure stands open.
func (i Info) Tampered() bool { return i.has(FlagTamper) }

// Production tells whether the loader takes production images alone.
func (i Info) Production() bool { return i.has(FlagProductionLoader) }

const infoSize = 32

func (i Info) encode() []byte {
	b := []byte{protocol, i.Slot, i.Flags, byte(i.Link)}
	le := binary.LittleEndian
	b = le.AppendUint32(b, i.Board)
	b = append(b, i.Serial[:]...)
	for _, v := range []uint32{uint32(i.Version), i.Rollback, i.Floor, uint32(i.Loader)} {
		b = le.AppendUint32(b, v)
	}
	return b
}

func decodeInfo(b []byte) (Info, error) {
	if len(b) != infoSize || b[0] != protocol {
		return Info{}, errGarbled
	}
	le := binary.LittleEndian
	i := Info{
		Slot: b[1], Flags: b[2], Link: Link(b[3]), Board: le.Uint32(b[4:]), Serial: Serial(b[8:16]),
		Version: firmware.Version(le.Uint32(b[16:])), Rollback: le.Uint32(b[20:]), Floor: le.Uint32(b[24:]), Loader: firmware.Version(le.Uint32(b[28:])),
	}
	if i.Slot != 'A' && i.Slot != 'B' || i.Flags > 31 || i.Link > LinkTampered {
		return Info{}, errGarbled
	}
	return i, nil
}

// Inputs of Status.
const (
	InputDoor    = 1 << iota // open
	InputExit                // pressed
	InputTamper              // open
	InputService             // pressed
)

// Status is how a board is, section 6.2.
type Status struct {
	Link   Link
	Lock   Lock
	Door   Door
	Inputs byte          // Input...
	Shuts  time.Duration // until the lock shuts
	Faults uint16        // 1 state pages, 2 event ring, 4 stack
	Up     time.Duration // since the start
	Newest uint32        // sequence of the newest event
}

const statusSize = 16

func (s Status) encode() []byte {
	le := binary.LittleEndian
	b := []byte{byte(s.Link), byte(s.Lock), byte(s.Door), s.Inputs}
	b = le.AppendUint16(b, uint16(s.Shuts.Milliseconds()))
	b = le.AppendUint16(b, s.Faults)
	b = le.AppendUint32(b, uint32(s.Up.Milliseconds()))
	return le.AppendUint32(b, s.Newest)
}

func decodeStatus(b []byte) (Status, error) {
	if len(b) != statusSize {
		return Status{}, errGarbled
	}
	le := binary.LittleEndian
	s := Status{
		Link: Link(b[0]), Lock: Lock(b[1]), Door: Door(b[2]), Inputs: b[3],
		Shuts: time.Duration(le.Uint16(b[4:])) * time.Millisecond, Faults: le.Uint16(b[6:]),
		Up: time.Duration(le.Uint32(b[8:])) * time.Millisecond, Newest: le.Uint32(b[12:]),
	}
	if s.Link > LinkTampered || s.Lock > LockBoth || s.Door > DoorHeld || s.Inputs > 15 || s.Faults > 7 {
		return Status{}, errGarbled
	}
	return s, nil
}

// EventCode says what happened, section 7.
type EventCode byte

// Event codes.
const (
	EventStart EventCode = iota + 1
	EventPaired
	EventWiped
	EventSession
	EventLost
	EventUnlocked
	EventLocked
	EventRefused
	EventTamper
	EventOpened
	EventClosed
	EventForced
	EventHeld
	EventExit
	EventConfirmed
	EventLoader
)

var eventNames = []string{
	"", "start", "paired", "wiped", "session", "lost", "unlocked", "locked", "refused", "tamper",
	"opened", "closed", "forced", "held", "exit", "confirmed", "loader",
}

var eventArguments = map[EventCode]map[byte]string{
	EventStart:  {0: "power", 1: "restart", 2: "watchdog", 3: "fault"},
	EventWiped:  {1: "host", 2: "tamper", 3: "service-button", 4: "damaged"},
	EventLocked: {1: "hold-over", 2: "host", 3: "heartbeat-lost", 4: "new-session", 5: "tamper", 6: "wiped", 7: "restart"},
	EventTamper: {0: "closed", 1: "open"},
}

func (c EventCode) String() string {
	if int(c) < len(eventNames) && c > 0 {
		return eventNames[c]
	}
	return fmt.Sprintf("event-%d", byte(c))
}

// Event is a record of the board's ring.
type Event struct {
	Sequence uint32
	Start    uint16 // low half of the start counter
	Code     EventCode
	Argument byte
	At       time.Duration // since that start
}

// Detail is the argument in words, empty where it says nothing.
func (e Event) Detail() string {
	switch {
	case eventArguments[e.Code] != nil:
		if w, ok := eventArguments[e.Code][e.Argument]; ok {
			return w
		}
		return fmt.Sprintf("%d", e.Argument)
	case e.Code == EventUnlocked:
		return (time.Duration(e.Argument) * 100 * time.Millisecond).String()
	case e.Code == EventRefused:
		return Code(e.Argument).String()
	}
	return ""
}

func (e Event) String() string {
	if d := e.Detail(); d != "" {
		return e.Code.String() + " " + d
	}
	return e.Code.String()
}

const eventSize = 12

func (e Event) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, e.Sequence)
	b = le.AppendUint16(b, e.Start)
	b = append(b, byte(e.Code), e.Argument)
	return le.AppendUint32(b, uint32(e.At.Milliseconds()))
}

func decodeEvent(b []byte) Event {
	le := binary.LittleEndian
	return Event{
		Sequence: le.Uint32(b), Start: le.Uint16(b[4:]), Code: EventCode(b[6]), Argument: b[7],
		At: time.Duration(le.Uint32(b[8:])) * time.Millisecond,
	}
}

// Events is a stretch of the ring.
type Events struct {
	Oldest, Newest uint32 // what the ring has; 0 and 0 when it is empty
	Events         []Event
}

const mostEvents = 16

func (e Events) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, e.Oldest)
	b = le.AppendUint32(b, e.Newest)
	b = append(b, byte(len(e.Events)))
	for _, v := range e.Events {
		b = append(b, v.encode()...)
	}
	return b
}

func decodeEvents(b []byte) (Events, error) {
	if len(b) < 9 || b[8] > mostEvents || len(b) != 9+int(b[8])*eventSize {
		return Events{}, errGarbled
	}
	le := binary.LittleEndian
	e := Events{Oldest: le.Uint32(b), Newest: le.Uint32(b[4:])}
	for i := range int(b[8]) {
		e.Events = append(e.Events, decodeEvent(b[9+i*eventSize:]))
	}
	return e, nil
}

// Tests of a self-test, section 6.3.
var selfTests = []string{"image digest", "counters", "pairing key", "event ring", "stack", "loader"}

// SelfTest is what a board found out about itself.
type SelfTest struct {
	Passed     uint16 // a bit for each of Tests
	StackUsed  uint16 // at most, bytes
	StackSize  uint16
	Why        byte // why it started
	Inputs     byte
	Starts     uint32
	Frames     uint32 // taken since the start
	Garbled    uint32
	RefusedAll uint32 // frames refused
}

// Failed names the tests that did not pass; empty is good.
func (s SelfTest) Failed() []string {
	var bad []string
	for i, name := range selfTests {
		if s.Passed&(1<<i) == 0 {
			bad = append(bad, name)
		}
	}
	return bad
}

// Tests are the names of all tests.
func (s SelfTest) Tests() []string { return selfTests }

// Started is why the board started, in words.
func (s SelfTest) Started() string { return Event{Code: EventStart, Argument: s.Why}.Detail() }

const selfTestSize = 24

func (s SelfTest) encode() []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, s)
	return b.Bytes()
}

func decodeSelfTest(b []byte) (SelfTest, error) {
	var s SelfTest
	if len(b) != selfTestSize || binary.Read(bytes.NewReader(b), binary.LittleEndian, &s) != nil || s.Passed >= 1<<len(selfTests) || s.Inputs > 15 {
		return SelfTest{}, errGarbled
	}
	return s, nil
}

// Lamp is what the board's lamp does.
type Lamp byte

// Lamps.
const (
	LampAutomatic Lamp = iota
	LampOff
	LampOn
	LampBlink
)
