package firmware

// Refusal is why an image is not taken, by the loader's names (PROTOCOL.md,
// section 5). The host refuses by the same names before it sends a byte.
type Refusal string

// Refusals.
const (
	NotImage     Refusal = "magic"
	BadHeader    Refusal = "header"
	OtherBoard   Refusal = "board"
	OtherSlot    Refusal = "slot"
	WrongKey     Refusal = "key"
	BadSignature Refusal = "signature"
	Older        Refusal = "older"
	BadSize      Refusal = "size"
	BadDigest    Refusal = "digest"
	Torn         Refusal = "torn"
	BadTransfer  Refusal = "transfer"
	Cancelled    Refusal = "cancelled"
	BadFlash     Refusal = "flash"
	BadCommand   Refusal = "command"
	NothingWhole Refusal = "none"
)

var refusals = map[Refusal][2]string{
	NotImage:     {"this is no image of a guard board", "use a file that ends in .fpb, from 'make firmware' or a release"},
	BadHeader:    {"the image's header is malformed", "fetch or build the file again"},
	OtherBoard:   {"the image is for another board", "take the file whose name begins with the board's"},
	OtherSlot:    {"the file has no image for the slot that is free", "use the whole bundle, not one image of it"},
	WrongKey:     {"the board's loader has no key for images of this kind", "a production loader takes only releases; a development loader takes development images, and releases where it was built with PRODUCTION_KEY"},
	BadSignature: {"the signature does not match: the file was changed, or somebody else signed it", "fetch the file again from where it is published"},
	Older:        {"its rollback counter is below the board's floor: an old, withdrawn version", "flash a newer one"},
	BadSize:      {"it does not fit into the slot", "build it smaller"},
	BadDigest:    {"the body is not the one that was signed", "fetch the file again; from a board: its flash does not keep what is written, replace it"},
	Torn:         {"it ends too early", "fetch the file again, or send it again"},
	BadTransfer:  {"the transfer did not get through", "use a shorter cable or another adapter, and send it again"},
	Cancelled:    {"the transfer was cancelled", "send it again; the image that ran before is untouched"},
	BadFlash:     {"the board's flash could not be erased or written", "replace the board"},
	BadCommand:   {"the loader does not know the command", "this tool and the loader are of different versions"},
	NothingWhole: {"the board has no image that it could start", "flash one"},
}

func (r Refusal) Error() string {
	if text, ok := refusals[r]; ok {
		return text[0]
	}
	return "refused: " + string(r)
}

// Advice is what to do about it.
func (r Refusal) Advice() string { return refusals[r][1] }
