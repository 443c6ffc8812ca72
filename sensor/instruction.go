package sensor

import "fmt"

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
	AuraLedConfig Instruction = 0x35
	CheckSensor   Instruction = 0x36
	GetAlgVer     Instruction = 0x39
	GetFwVer      Instruction = 0x3A
	ReadProdInfo  Instruction = 0x3C
	SoftRst       Instruction = 0x3D
	HandShake     Instruction = 0x40
	GetEcho       Instruction = 0x53
)

var instructionText = map[Instruction]string{
	GenImg: "GenImg", Img2Tz: "Img2Tz", Match: "Match", Search: "Search", RegModel: "RegModel", Store: "Store",
	LoadChar: "LoadChar", UpChar: "UpChar", DownChar: "DownChar", UpImage: "UpImage", DownImage: "DownImage",
	DeletChar: "DeletChar", Empty: "Empty", SetSysPara: "SetSysPara", ReadSysPara: "ReadSysPara", SetPwd: "SetPwd",
	VfyPwd: "VfyPwd", GetRandomCode: "GetRandomCode", SetAdder: "SetAdder", ReadInfPage: "ReadInfPage",
	PortControl: "PortControl", WriteNotepad: "WriteNotepad", ReadNotepad: "ReadNotepad", HiSpeedSearch: "HiSpeedSearch",
	TempleteNum: "TempleteNum", ReadIndex: "ReadIndexTable", GetImageEx: "GetImageEx", Cancel: "Cancel",
	AuraLedConfig: "AuraLedConfig", CheckSensor: "CheckSensor", GetAlgVer: "GetAlgVer", GetFwVer: "GetFwVer",
	ReadProdInfo: "ReadProdInfo", SoftRst: "SoftRst", HandShake: "HandShake", GetEcho: "GetEcho",
}

func (i Instruction) String() string {
	if s, ok := instructionText[i]; ok {
		return s
	}
	return fmt.Sprintf("instruction %02X", byte(i))
}
