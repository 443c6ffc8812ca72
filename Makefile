# faceprint. Two commands do everything on a fresh machine:
#
#   make run     set up, build, show one round on the bench, then serve until Ctrl-C
#   make test    set up, then pass every test
#
# Both install what is missing, say what failed and what to do, and are quick
# the second time.

# What is fetched or made while running lives in var/, the programs in bin/;
# deleting both loses nothing.
VAR := $(CURDIR)/var
# The Go that packaging/deps.sh found or fetched: where it is is not known yet
# when make reads this on a fresh machine.
GO  := $(VAR)/bin/go

# Where tests and programs of this tree find the fetched files.
export FACEPRINT_MODELS := $(VAR)/models
export FACEPRINT_CLIPS  := $(VAR)/clips
export FACEPRINT_AXE    := $(VAR)/axe.min.js
export FACEPRINT_ORT    := $(VAR)/lib/libonnxruntime.so.1

# Programs that are only unpacked, for tests.
export FACEPRINT_GREETD := $(VAR)/deb/greetd/usr/sbin/greetd

# Tools of the checks, at the versions the tree is known to pass.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# How long each decoder is fuzzed: short in CI, long at night.
FUZZTIME ?= 10s

# When a package's tests are given up: they take minutes on a PC and may take
# longer on a Pi than the go command's own ten.
PATIENCE ?= 60m

.DEFAULT_GOAL := help
.PHONY: help run demo picture build install test bench report nightly lint race cross fuzz vuln firmware pam deps deps-test fetch clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The bench's guard board: the chip's own binary in QEMU where both are
# installed (make firmware does that), else the same C built for this machine.
.PHONY: board
board: build
	@if command -v qemu-system-arm >/dev/null && command -v arm-none-eabi-gcc >/dev/null; then \
		$(MAKE) -s -C firmware GO=$(GO) microbit; else $(MAKE) -s -C firmware GO=$(GO) host; fi

run: board ## set up, build, one scripted round, then the bench serves until Ctrl-C
	@bin/faceprint demo --stay

demo: board ## the scripted round alone; exits 0 only if every step came out as stated
	@bin/faceprint demo

picture: board ## the README's picture, made by a run of the round
	@mkdir -p docs
	@bin/faceprint demo --svg docs/round.svg

build: deps fetch ## the three programs, in bin/
	@mkdir -p bin
	@echo "build: faceprint, faceprintd, faceprint-eval (the first time OpenCV's bindings take a minute or two)"
	@CGO_ENABLED=0 $(GO) build -o bin/faceprint ./cmd/faceprint
	@$(GO) build -o bin/faceprintd ./cmd/faceprintd
	@$(GO) build -o bin/faceprint-eval ./cmd/faceprint-eval

# Where it is installed. The daemon's defaults name the same places.
DESTDIR ?=
SHARE := $(DESTDIR)/usr/share

install: build ## programs, models, the systemd unit and its account's groups, below DESTDIR
	install -d $(DESTDIR)/usr/bin $(SHARE)/faceprint/models $(DESTDIR)/usr/lib/faceprint $(DESTDIR)/etc/faceprint
	install bin/faceprintd bin/faceprint bin/faceprint-eval $(DESTDIR)/usr/bin
	install -m 644 $(VAR)/models/*.onnx $(SHARE)/faceprint/models
	install -m 644 $(FACEPRINT_ORT) $(DESTDIR)/usr/lib/faceprint
	install -D -m 644 -t $(DESTDIR)/lib/systemd/system packaging/systemd/faceprintd.service
	install -D -m 644 packaging/systemd/faceprint.sysusers $(DESTDIR)/usr/lib/sysusers.d/faceprint.conf
	install -D -m 644 -t $(SHARE)/dbus-1/system.d packaging/dbus/net.faceprint.conf
	install -D -m 644 -t $(SHARE)/faceprint/avahi packaging/avahi/faceprint.service
	install -D -m 644 -t $(SHARE)/doc/faceprint README.md SECURITY.md CHANGELOG.md
	@[ -e $(DESTDIR)/etc/faceprint/faceprint.toml ] || bin/faceprintd --print-config > $(DESTDIR)/etc/faceprint/faceprint.toml
	@[ -n "$(DESTDIR)" ] || { systemd-sysusers faceprint.conf && systemctl daemon-reload; }
	@echo "install: set /etc/faceprint/faceprint.toml to what is there, then 'systemctl enable --now faceprintd' and 'faceprint doctor'"

test: build deps-test firmware ## set up, then every test
	$(MAKE) -s -j$$(nproc) -C firmware GO=$(GO) test
	$(GO) test -timeout $(PATIENCE) ./...

firmware: ## loader and application of the guard board, for microbit, pico and host
	@packaging/deps.sh $(VAR)/go firmware
	@$(MAKE) -s -j$$(nproc) -C firmware GO=$(GO)

bench: build ## speed, as ratios of both sides in one run
	$(GO) test -run '^$$' -bench . -benchmem ./...

lint: deps ## vet, staticcheck, gofumpt
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	@bad=$$($(GO) run $(GOFUMPT) -l cmd device vision sensor store firmware); [ -z "$$bad" ] || { echo "not gofumpt-clean:"; echo "$$bad"; exit 1; }

race: deps fetch ## the tests under the race detector, where goroutines are
	$(GO) test -race -short -timeout $(PATIENCE) $$(packaging/race.sh $(GO))

# Tests of what is written in assembly, here NEON's.
ASSEMBLY := Vectors|RowsAreSummed|Resize|Reduction|Warp|AlignedFaces

cross: deps ## everything but the OpenCV and ONNX rooms builds without cgo for the Pi's processors
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=linux GOARCH=arm GOARM=6 $(GO) build ./...
	@if command -v qemu-aarch64-static >/dev/null; then set -x; \
		CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) test -exec qemu-aarch64-static -run '$(ASSEMBLY)' ./vision; \
	else echo "no qemu-aarch64-static (apt-get install qemu-user-static): arm64's assembly was built, not run"; fi

# The fingerprint module's packets come from a wire that anyone with a screwdriver
# reaches: their decoders get 20 s each also where the others get less, as in CI.
fuzz: deps ## every fuzz target for FUZZTIME each
	@packaging/fuzz.sh $(GO) $(FUZZTIME) 20 FuzzDecodePacket FuzzReassembler FuzzParseRecording

vuln: deps ## known vulnerabilities, where the database can be reached
	@packaging/vuln.sh $(GO) $(GOVULNCHECK)

pam: ## the PAM module for Linux logins, bin/pam_faceprint.so (docs/login.md)
	@packaging/deps.sh $(VAR)/go build pam
	@$(MAKE) --no-print-directory -C packaging/pam DIR=$(CURDIR)/bin

# Of pictures and clips that are the user's: what is not named keeps its lines.
#   make report FACES=lfw PAIRS=lfw/pairs.txt LIVE="a.mp4 b.mp4" ATTACK="c.mp4"
report: build ## measure again on your data and write the README's figures and docs/det.png
	@bin/faceprint-eval report --readme README.md --plot docs/det.png --engine $(or $(ENGINE),ort) $(if $(FACES),--dir $(FACES) --pairs $(or $(PAIRS),$(FACES)/pairs.txt)) $(if $(LIVE),--live $(LIVE)) $(if $(ATTACK),--attack $(ATTACK)) $(addprefix --bystander ,$(BYSTANDER))

nightly: ## what is too long for CI: long fuzzing, full fault and power-cut sweeps
	$(MAKE) test
	GUARD_UPGRADE_BYTES=61184 GUARD_FRAMES=1000000 $(MAKE) -s -j$$(nproc) -C firmware GO=$(GO) test
	GUARD_CUTS=60 $(GO) test -timeout 60m -v -run PowerCut ./firmware/qemu
	$(MAKE) pico
	FACEPRINT_TORTURE=10000,5000 $(GO) test -timeout 90m -v -run 'Killed|PowerCut' ./store | grep -v event=
	FACEPRINT_TPM_KILLS=2000 $(GO) test -timeout 60m -v -run Killed ./store/tpm | grep -v event=
	FACEPRINT_LARGE=100000,1000000 $(GO) test -timeout 60m -run '^$$' -bench LargeVault -benchtime 20000x ./store
	FACEPRINT_SCRIPTS=1000000 $(GO) test -run FaultScripts -timeout 4h ./sensor
	FACEPRINT_FINGERS=30 $(GO) test -v -run MisfitsOfHonestScans ./sensor/host
	bin/faceprint-eval finger --search 100000 --jobs 2
	$(MAKE) fuzz FUZZTIME=10m
	@packaging/deps.sh $(VAR)/go build test night
	$(MAKE) -s -C firmware coverage misra fuzz FUZZTIME=600
	FACEPRINT_NIGHTLY=1 $(GO) test -v -run Greetd ./cmd/faceprintd
	FACEPRINT_NIGHTLY=1 $(GO) test -v -timeout 30m -run 'Kiosk|PassersBy' ./cmd/faceprintd
	FACEPRINT_NIGHTLY=1 $(GO) test -v -run Kotlin ./device/phone/client
	$(MAKE) vivid
	$(MAKE) -C packaging/pam DIR=$(VAR)/pam fuzz
	mkdir -p $(VAR)/pam/corpus
	$(VAR)/pam/fuzz_answer -max_total_time=600 -dict=packaging/pam/answer.dict $(VAR)/pam/corpus

deps:
	@packaging/deps.sh $(VAR)/go build

deps-test:
	@packaging/deps.sh $(VAR)/go build test
	@packaging/unpack.sh $(VAR)/deb greetd

fetch: deps
	@packaging/fetch.sh $(VAR) models clips ort

# Debian's newest kernel is unpacked and never installed: only the guest runs it.
KERNEL = $(shell apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ {print $$2; exit}')
.PHONY: vivid
vivid: deps ## V4L2 end to end, on the kernel's own camera (vivid) in QEMU
	@packaging/deps.sh $(VAR)/go build night
	@packaging/unpack.sh $(VAR)/deb $(KERNEL)
	FACEPRINT_KERNEL=$(VAR)/deb/$(KERNEL) $(GO) test -count=1 -v -timeout 20m -run Vivid ./vision/opencv

.PHONY: pico
pico: firmware ## the Pico's UF2 on an emulated RP2040 (firmware/rp2040)
	@packaging/fetch.sh $(VAR) pico
	@rm -rf $(VAR)/rp2040js && mkdir -p $(VAR)/rp2040js && tar -xzf $(VAR)/lib/rp2040js.tgz -C $(VAR)/rp2040js --strip-components=1
	node firmware/rp2040/pico.mjs $(VAR)/rp2040js/dist/esm firmware/build/pico/guard.uf2 firmware/build/pico/app.fpb firmware/build/pico/loader.elf

.PHONY: types
lint: types
types: deps ## the types of the kiosk's page
	@packaging/fetch.sh $(VAR) types
	@rm -rf $(VAR)/typescript && mkdir -p $(VAR)/typescript && tar -xzf $(VAR)/lib/typescript.tgz -C $(VAR)/typescript --strip-components=1
	node $(VAR)/typescript/lib/tsc.js -p device/kiosk/web/jsconfig.json

.PHONY: fetch-test
test: fetch-test
fetch-test: deps
	@packaging/fetch.sh $(VAR) axe

clean: ## remove programs, fetched files and the bench's state
	rm -rf bin var firmware/build
