package sensor

import (
	"fmt"
	"slices"
	"time"
)

// Instruction is the first byte of a command (manual 5.3), by its name there.
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

var instructionText = map[Instruction]string{
	GenImg: "GenImg", Img2Tz: "Img2Tz", Match: "Match", Search: "Search", RegModel: "RegModel", Store: "Store",
	LoadChar: "LoadChar", UpChar: "UpChar", DownChar: "DownChar", UpImage: "UpImage", DownImage: "DownImage",
	DeletChar: "DeletChar", Empty: "Empty", SetSysPara: "SetSysPara", ReadSysPara: "ReadSysPara", SetPwd: "SetPwd",
	VfyPwd: "VfyPwd", GetRandomCode: "GetRandomCode", SetAdder: "SetAdder", ReadInfPage: "ReadInfPage",
	PortControl: "PortControl", WriteNotepad: "WriteNotepad", ReadNotepad: "ReadNotepad", HiSpeedSearch: "HiSpeedSearch",
	TempleteNum: "TempleteNum", ReadIndex: "ReadIndexTable", GetImageEx: "GetImageEx", Cancel: "Cancel",
	AutoEnroll: "AutoEnroll", AutoIdentify: "AutoIdentify", LightOn: "LightOn", LightOff: "LightOff",
	AuraLedConfig: "AuraLedConfig", CheckSensor: "CheckSensor", GetAlgVer: "GetAlgVer", GetFwVer: "GetFwVer",
	ReadProdInfo: "ReadProdInfo", SoftRst: "SoftRst", HandShake: "HandShake", GetEcho: "GetEcho",
}

func (i Instruction) String() string {
	if s, ok := instructionText[i]; ok {
		return s
	}
	return fmt.Sprintf("instruction %02X", byte(i))
}

// answerSize is how many bytes follow the code OK of each instruction's answer
// (manual 5.3); an answer of another size is not one to it.
var answerSize = map[Instruction]int{
	GenImg: 0, Img2Tz: 0, Match: 2, Search: 4, RegModel: 0, Store: 0, LoadChar: 0, UpChar: 0, DownChar: 0, UpImage: 0,
	DownImage: 0, DeletChar: 0, Empty: 0, SetSysPara: 0, ReadSysPara: 16, SetPwd: 0, VfyPwd: 0, GetRandomCode: 4,
	SetAdder: 0, ReadInfPage: 0, PortControl: 0, WriteNotepad: 0, ReadNotepad: 32, HiSpeedSearch: 4, TempleteNum: 2,
	ReadIndex: 32, GetImageEx: 0, Cancel: 0, AutoEnroll: 2, AutoIdentify: 5, AuraLedConfig: 0, CheckSensor: 0,
	GetAlgVer: 32, GetFwVer: 32, ReadProdInfo: 46, SoftRst: 0, HandShake: 0, LightOn: 0, LightOff: 0, GetEcho: 0,
}

// echo is what GetEcho answers in place of a code.
const echo Code = 0x55

// codes are the answers other than OK that each instruction has (manual 5.3),
// besides those that all have.
var codes = map[Instruction][]Code{
	GenImg: {NoFinger, ImageFail}, Img2Tz: {ImageMessy, FewFeatures, NoImage, BadID}, Match: {NoMatch, TemplateEmpty},
	Search: {NotFound, LibraryEmpty, BadID}, HiSpeedSearch: {NotFound, LibraryEmpty, BadID}, RegModel: {MergeFail},
	Store: {BadID, FlashError, IllegalData}, LoadChar: {BadID, TemplateRead}, UpChar: {TemplateUpload, ImageUpload, BadID},
	DownChar: {DataReceive, BadID}, UpImage: {ImageUpload}, DownImage: {DataReceive}, DeletChar: {DeleteFail, FlashError},
	Empty: {EmptyFail, FlashError}, SetSysPara: {BadRegister, BadValue, FlashError}, ReadSysPara: {FlashError},
	SetPwd: {FlashError}, VfyPwd: {WrongPassword}, SetAdder: {FlashError}, ReadInfPage: {ImageUpload},
	PortControl: {PortFail}, WriteNotepad: {FlashError, BadNotepad}, ReadNotepad: {BadNotepad}, ReadIndex: {BadID},
	GetImageEx:   {NoFinger, ImageFail, FewFeatures},
	AutoEnroll:   {NoFinger, ImageFail, ImageMessy, FewFeatures, MergeFail, BadID, LibraryFull, TemplateEmpty, TimedOut, AlreadyEnrolled},
	AutoIdentify: {NoFinger, ImageFail, ImageMessy, FewFeatures, NotFound, BadID, TemplateEmpty, LibraryEmpty, TimedOut},
	CheckSensor:  {SensorFault},
}

// possible tells whether an instruction can be answered so. Codes that say
// that the module could not do anything are possible everywhere.
func possible(i Instruction, c Code) bool {
	switch c {
	case PacketError, Undefined, WrongAddress, VerifyFirst, Unsupported, HardwareFault, ExecutionFailed:
		return true
	case SensorFault:
		return i == GenImg || i == GetImageEx || i == CheckSensor
	}
	return slices.Contains(codes[i], c)
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
