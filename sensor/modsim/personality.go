package modsim

import (
	"time"

	"github.com/faceprint/faceprint/sensor"
)

// Personality is what tells one family of modules from another.
type Personality struct {
	Model        string // as ReadProdInfo names it
	SystemID     uint16
	Capacity     int // templates in the library
	Width        int // pixels
	Height       int
	DPI          float64
	Buffers      int
	FeatureSize  int      // bytes of what Img2Tz makes
	TemplateSize int      // bytes that UpChar sends
	Rates        []uint16 // multiples of 9600 baud that it can be set to
	Aura         bool
	LED          bool // a plain light, instructions 50 and 51
	Modern       bool // the instructions that only the R503 generation has
	HiSpeed      bool // HiSpeedSearch, which that generation dropped
	// Unknown is the answer to an instruction that the module does not have;
	// OK stands for none at all.
	Unknown sensor.Code
	// MissedCode is what Search answers as id when it found nothing: the manual
	// says 0, a real R503 sent 01EE.
	MissedID uint16
	// CaptureSpoils: a GenImg between Img2Tz and Search makes it answer 09.
	CaptureSpoils bool
	// OneModel: templates have one buffer of their own, whichever is named, and are
	// compared with the newest features (the R503's manual, pp. 19, 22); users saw
	// that two captures of one finger do not match there.
	OneModel bool

	StartUp  time.Duration
	Ready    bool // sends the byte 55 when it has started
	Image    time.Duration
	NoFinger time.Duration
	Features time.Duration
	Merge    time.Duration
	Match    time.Duration // 1:1
	Search   time.Duration // 1:N, for each template
	Flash    time.Duration
}

// Personalities by name. Times of the R503: manual 1.2 (acquire < 0.2 s,
// features < 0.5 s, match < 10 ms, start-up <= 50 ms); of the optical units
// their vendors' pages (0.3 to 0.5 s, 1000 templates in a second, 0.2 s). Where
// a manual gives a limit, a value somewhat below it is chosen.
var Personalities = map[string]Personality{
	"r503": {
		Model: "R503", SystemID: 0x0000, Capacity: 200, Width: 192, Height: 192, DPI: 508,
		Buffers: 6, FeatureSize: 512, TemplateSize: 1536, Rates: []uint16{1, 2, 4, 6, 12}, Aura: true, Modern: true,
		Unknown: sensor.Unsupported, MissedID: 0x01EE, CaptureSpoils: true, OneModel: true,
		StartUp: 50 * time.Millisecond, Ready: true, Image: 120 * time.Millisecond, NoFinger: 30 * time.Millisecond,
		Features: 180 * time.Millisecond, Merge: 60 * time.Millisecond, Match: 8 * time.Millisecond,
		Search: 8 * time.Millisecond, Flash: 30 * time.Millisecond,
	},
	"r307": {
		Model: "R307", SystemID: 0x0009, Capacity: 1000, Width: 256, Height: 288, DPI: 500,
		Buffers: 2, FeatureSize: 512, TemplateSize: 768, Rates: everyRate, LED: true, HiSpeed: true,
		Unknown: sensor.Undefined,
		StartUp: 200 * time.Millisecond, Image: 300 * time.Millisecond, NoFinger: 100 * time.Millisecond,
		Features: 350 * time.Millisecond, Merge: 100 * time.Millisecond, Match: 15 * time.Millisecond,
		Search: time.Millisecond, Flash: 50 * time.Millisecond,
	},
	"as608": {
		Model: "AS608", SystemID: 0x0009, Capacity: 162, Width: 256, Height: 288, DPI: 500,
		Buffers: 2, FeatureSize: 512, TemplateSize: 512, Rates: everyRate, LED: true, HiSpeed: true,
		StartUp: 200 * time.Millisecond, Image: 300 * time.Millisecond, NoFinger: 100 * time.Millisecond,
		Features: 350 * time.Millisecond, Merge: 100 * time.Millisecond, Match: 15 * time.Millisecond,
		Search: time.Millisecond, Flash: 50 * time.Millisecond,
	},
}

// everyRate is what optical units take.
var everyRate = []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}

// modern instructions came with the R503 generation.
var modern = map[sensor.Instruction]bool{
	sensor.GetImageEx: true, sensor.Cancel: true, sensor.AutoEnroll: true, sensor.AutoIdentify: true,
	sensor.AuraLedConfig: true, sensor.CheckSensor: true, sensor.GetAlgVer: true, sensor.GetFwVer: true,
	sensor.ReadProdInfo: true, sensor.SoftRst: true, sensor.HandShake: true,
}

// has tells whether the module knows the instruction.
func (p Personality) has(i sensor.Instruction) bool {
	switch i {
	case sensor.HiSpeedSearch:
		return p.HiSpeed
	case sensor.LightOn, sensor.LightOff:
		return p.LED
	case sensor.AuraLedConfig:
		return p.Aura
	}
	_, known := parameters[i]
	return known && (p.Modern || !modern[i])
}

// parameters is how many bytes follow each instruction.
var parameters = map[sensor.Instruction]int{
	sensor.GenImg: 0, sensor.Img2Tz: 1, sensor.Match: 0, sensor.Search: 5, sensor.RegModel: 0, sensor.Store: 3,
	sensor.LoadChar: 3, sensor.UpChar: 1, sensor.DownChar: 1, sensor.UpImage: 0, sensor.DownImage: 0,
	sensor.DeletChar: 4, sensor.Empty: 0, sensor.SetSysPara: 2, sensor.ReadSysPara: 0, sensor.SetPwd: 4,
	sensor.VfyPwd: 4, sensor.GetRandomCode: 0, sensor.SetAdder: 4, sensor.ReadInfPage: 0, sensor.PortControl: 1,
	sensor.WriteNotepad: 33, sensor.ReadNotepad: 1, sensor.HiSpeedSearch: 5, sensor.TempleteNum: 0,
	sensor.ReadIndex: 1, sensor.GetImageEx: 0, sensor.Cancel: 0, sensor.AutoEnroll: 5, sensor.AutoIdentify: 5,
	sensor.AuraLedConfig: 4, sensor.CheckSensor: 0, sensor.GetAlgVer: 0, sensor.GetFwVer: 0, sensor.ReadProdInfo: 0,
	sensor.SoftRst: 0, sensor.HandShake: 0, sensor.LightOn: 0, sensor.LightOff: 0, sensor.GetEcho: 0,
}
