package sensor

import (
	"fmt"
	"slices"
	"time"
)

// Instruction is the first byte of a command (manual, chapter V), by its name
// there.
type Instruction byte

// Instructions.
const (
	GenImg        Instruction = 0x01
	Img2Tz        Instruction = 0x02
	Match         Instruction = 0x03
	Search        Instruction = 0x04
	RegModel      Instruction = 0x05
	Store         Instruction = 0x06
	LoadChar      Instruction = 0x07
	UpChar        Instruction = 0x08
	DownChar      Instruction = 0x09
	UpImage       Instruction = 0x0A
	DownImage     Instruction = 0x0B
	DeletChar     Instruction = 0x0C
	Empty         Instruction = 0x0D
	SetSysPara    Instruction = 0x0E
	ReadSysPara   Instruction = 0x0F
	SetPwd        Instruction = 0x12
	VfyPwd        Instruction = 0x13
	GetRandomCode Instruction = 0x14
	SetAdder      Instruction = 0x15
	ReadInfPage   Instruction = 0x16
	PortControl   Instruction = 0x17
	WriteNotepad  Instruction = 0x18
	ReadNotepad   Instruction = 0x19
	HiSpeedSearch Instruction = 0x1B
	TempleteNum   Instruction = 0x1D // the manual's spelling
	ReadIndex     Instruction = 0x1F
	GetImageEx    Instruction = 0x28
	Cancel        Instruction = 0x30
	AutoEnroll    Instruction = 0x31
	AutoIdentify  Instruction = 0x32
	AuraLedConfig Instruction = 0x35
	CheckSensor   Instruction = 0x36
	GetAlgVer     Instruction = 0x39
	GetFwVer      Instruction = 0x3A
	ReadProdInfo  Instruction = 0x3C
	SoftRst       Instruction = 0x3D
	HandShake     Instruction = 0x40
	LightOn       Instruction = 0x50 // optical units
	LightOff      Instruction = 0x51
	GetEcho       Instruction = 0x53
)

// instructions is what the manual says about each: its name there, the page of
// Grow R503 V1.2.2 (0: only optical units have it, or not looked up), how many bytes follow the code
// OK of its answer (an answer of another size is not one to it), and the answers
// other than OK that it has besides those that all have.
var instructions = map[Instruction]struct {
	name  string
	page  int
	size  int
	codes []Code
}{
	GenImg:        {"GenImg", 15, 0, []Code{NoFinger, ImageFail}},
	Img2Tz:        {"Img2Tz", 17, 0, []Code{ImageMessy, FewFeatures, NoImage, BadID}},
	Match:         {"Match", 22, 2, []Code{NoMatch, TemplateEmpty}},
	Search:        {"Search", 22, 4, []Code{NotFound, LibraryEmpty, BadID}},
	RegModel:      {"RegModel", 17, 0, []Code{MergeFail}},
	Store:         {"Store", 19, 0, []Code{BadID, FlashError, IllegalData}},
	LoadChar:      {"LoadChar", 20, 0, []Code{BadID, TemplateRead}},
	UpChar:        {"UpChar", 18, 0, []Code{TemplateUpload, ImageUpload, BadID}},
	DownChar:      {"DownChar", 19, 0, []Code{DataReceive, BadID}},
	UpImage:       {"UpImage", 15, 0, []Code{ImageUpload}},
	DownImage:     {"DownImage", 16, 0, []Code{DataReceive}},
	DeletChar:     {"DeletChar", 21, 0, []Code{DeleteFail, FlashError}},
	Empty:         {"Empty", 21, 0, []Code{EmptyFail, FlashError}},
	SetSysPara:    {"SetSysPara", 12, 0, []Code{BadRegister, BadValue, FlashError}},
	ReadSysPara:   {"ReadSysPara", 13, 16, []Code{FlashError}},
	SetPwd:        {"SetPwd", 11, 0, []Code{FlashError}},
	VfyPwd:        {"VfyPwd", 11, 0, []Code{WrongPassword}},
	GetRandomCode: {"GetRandomCode", 32, 4, nil},
	SetAdder:      {"SetAdder", 12, 0, []Code{FlashError}},
	ReadInfPage:   {"ReadInfPage", 32, 0, []Code{ImageUpload}},
	PortControl:   {"PortControl", 0, 0, []Code{PortFail}},
	WriteNotepad:  {"WriteNotepad", 33, 0, []Code{FlashError, BadNotepad}},
	ReadNotepad:   {"ReadNotepad", 33, 32, []Code{BadNotepad}},
	HiSpeedSearch: {"HiSpeedSearch", 0, 4, []Code{NotFound, LibraryEmpty, BadID}},
	TempleteNum:   {"TempleteNum", 13, 2, nil},
	ReadIndex:     {"ReadIndexTable", 14, 32, []Code{BadID}},
	GetImageEx:    {"GetImageEx", 23, 0, []Code{NoFinger, ImageFail, FewFeatures}},
	Cancel:        {"Cancel", 23, 0, nil},
	AutoEnroll:    {"AutoEnroll", 28, 2, []Code{NoFinger, ImageFail, ImageMessy, FewFeatures, MergeFail, BadID, LibraryFull, TemplateEmpty, TimedOut, AlreadyEnrolled}},
	AutoIdentify:  {"AutoIdentify", 0, 5, []Code{NoFinger, ImageFail, ImageMessy, FewFeatures, NotFound, BadID, TemplateEmpty, LibraryEmpty, TimedOut}},
	AuraLedConfig: {"AuraLedConfig", 27, 0, nil},
	CheckSensor:   {"CheckSensor", 24, 0, []Code{SensorFault}},
	GetAlgVer:     {"GetAlgVer", 25, 32, nil},
	GetFwVer:      {"GetFwVer", 25, 32, nil},
	ReadProdInfo:  {"ReadProdInfo", 26, 46, nil},
	SoftRst:       {"SoftRst", 26, 0, nil},
	HandShake:     {"HandShake", 24, 0, nil},
	LightOn:       {"LightOn", 0, 0, nil},
	LightOff:      {"LightOff", 0, 0, nil},
	GetEcho:       {"GetEcho", 0, 0, nil},
}

func (i Instruction) String() string {
	if t, ok := instructions[i]; ok {
		return t.name
	}
	return fmt.Sprintf("instruction %02X", byte(i))
}

// echo is what GetEcho answers in place of a code.
const echo Code = 0x55

// possible tells whether an instruction can be answered so. Codes that say
// that the module could not do anything are possible everywhere.
func possible(i Instruction, c Code) bool {
	switch c {
	case PacketError, Undefined, WrongAddress, VerifyFirst, Unsupported, HardwareFault, ExecutionFailed:
		return true
	case SensorFault:
		return i == GenImg || i == GetImageEx || i == CheckSensor
	}
	return slices.Contains(instructions[i].codes, c)
}

// timeoutOf is how long the answer may take.
func timeoutOf(i Instruction) time.Duration {
	switch i {
	case Search, HiSpeedSearch:
		return searchTimeout
	case Empty, DeletChar:
		return flashTimeout
	case AutoEnroll, AutoIdentify:
		return autoTimeout
	}
	return answerTimeout
}
