# make run              installs what is missing, builds everything, and runs a sample container VM
# make test             builds everything and runs every test
# make soak             runs the attach server for long: 1 GiB each way, a line that is cut 500 times
# make iso              build/tether.iso alone
# make bench            measures sizes, memory, start and throughput beside a minimal init and a raw cat
# make debian-image     build/debian.vmdk, an image disk with a minimal Debian
# make clean            removes build/ and .build/
#
# KERNEL_FLAVOUR=amd64  Debian's generic kernel (LSI Logic, AHCI, E1000) instead of the cloud flavour
# KERNEL_ARGUMENTS=...  more arguments for the kernel command line
# CMD=...               what `make run` runs in the VM: make run CMD="sh -c 'exit 3'"
#
# docs/building.md explains the steps.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:

KERNEL_FLAVOUR ?= cloud-amd64
KERNEL_ARGUMENTS ?=
CMD ?= sh -c 'uname -a; id; mount | grep " on / "; echo "and this is stderr" >&2'
# The one time that everything built carries: the same sources and packages give the same bytes on any day.
SOURCE_DATE_EPOCH ?= 1735689600
export SOURCE_DATE_EPOCH KERNEL_ARGUMENTS
# Debian leaves these out of an ordinary user's PATH; depmod, mke2fs and others are there.
export PATH := $(PATH):/usr/sbin:/sbin

sources := $(shell find Sources -type f) Package.swift
kernel := build/kernel/$(KERNEL_FLAVOUR)
tools := build/tetherctl build/guestinfo-bed
# Tests that boot VMs look at times, too: more of them at once than there are processors would measure one another.
width := --experimental-maximum-parallelization-width 2
say = @echo "==>

.PHONY: run test soak bench iso tools debian-image clean packages swift
.DEFAULT_GOAL := run

# ---- What the user asks for ----------------------------------------------------------------------------------------

# $(value CMD) and not $(CMD): a $ in the command is the container's shell's, not make's.
run: build/tether.iso $(tools) build/sample.vmdk
	@$(info ==> Running in a VM: $(value CMD))
	@build/tetherctl run --iso build/tether.iso --image build/sample.vmdk -- $(value CMD)

iso: build/tether.iso
tools: $(tools)

bench: build/tether.iso $(tools) build/sample.vmdk
	@bench/run

debian-image: build/debian.vmdk

# Built first and as the caller, so that under sudo nothing is compiled. -H: what is remembered under root's rights stays out
# of the caller's home.
as_root := $(if $(filter-out 0,$(shell id -u)),sudo -E -H env "PATH=$$PATH")
test: build/tether.iso $(tools) build/sample.vmdk build/interop
	$(say) Looking at the form of the sources"
	@swift format lint --strict -r Sources Tests Fuzz
	$(say) Building the tests"
	@swift build --build-tests
	$(say) Running a first VM, which finds out whether KVM works here: the tests measure how long theirs take"
	@$(as_root) build/tetherctl run --iso build/tether.iso --image build/sample.vmdk -- true
	$(say) Running the tests"
	@$(as_root) swift test --skip-build --disable-xctest $(width)

# Beside `make test`, which has the same tests with less in them.
soak: | packages swift
	$(say) Building the tests"
	@swift build --build-tests
	$(say) Running the attach server for long"
	@TETHER_BULK_MIB=$${TETHER_BULK_MIB:-1024} TETHER_DISCONNECTS=$${TETHER_DISCONNECTS:-500} \
		swift test --skip-build --disable-xctest --filter AttachProcessTests

clean:
	rm -rf build .build

# ---- What the steps need -------------------------------------------------------------------------------------------

packages:
	@scripts/install-packages

swift: | packages
	@scripts/require-swift >/dev/null

# ---- Programs ------------------------------------------------------------------------------------------------------

# swift build leaves a program alone that has not changed, so a stamp says when it last looked.
guest := build/init build/tether-relay build/tether-attach build/tether-lease
$(guest): build/.guest
	@[ -e $@ ] || scripts/build-guest build/guest $(guest)
build/.guest: $(sources) scripts/build-guest | swift
	$(say) Building PID 1 and its helpers (Embedded Swift)"
	@mkdir -p build
	@scripts/build-guest build/guest $(guest)
	@touch $@

$(tools): build/.host
	@ln -sf host/release/$(@F) $@
build/.host: $(sources) | swift
	$(say) Building tetherctl and guestinfo-bed"
	@mkdir -p build
	@swift build -c release --scratch-path build/host --product tetherctl
	@swift build -c release --scratch-path build/host --product guestinfo-bed
	@touch $@

# ---- The ISO -------------------------------------------------------------------------------------------------------

$(kernel)/vmlinuz: iso/fetch-kernel | packages
	$(say) Fetching Debian's kernel, flavour $(KERNEL_FLAVOUR)"
	@iso/fetch-kernel $(KERNEL_FLAVOUR) $(kernel)
	@touch $@

build/modules-$(KERNEL_FLAVOUR).cpio.zst: $(kernel)/vmlinuz iso/modules iso/make-modules iso/make-cpio
	$(say) Packing the kernel modules"
	@iso/make-modules $(kernel) $@

build/udhcpc: iso/fetch-udhcpc | packages
	$(say) Fetching Debian's DHCP client"
	@iso/fetch-udhcpc $@
	@touch $@

build/init.cpio.zst: $(guest) build/udhcpc iso/make-initramfs iso/make-cpio
	$(say) Packing the initramfs"
	@iso/make-initramfs $(guest) build/udhcpc $@

# Changes when another kernel or command line is asked for than that of the last run.
build/.kernel: FORCE
	@mkdir -p build
	@echo "$(KERNEL_FLAVOUR) $$KERNEL_ARGUMENTS" | cmp -s - $@ || echo "$(KERNEL_FLAVOUR) $$KERNEL_ARGUMENTS" >$@
FORCE:

# Both parts in one file, and the kernel beside it, also for booting without the ISO (qemu -kernel -initrd).
build/initramfs: build/init.cpio.zst build/modules-$(KERNEL_FLAVOUR).cpio.zst build/.kernel
	@cat build/init.cpio.zst build/modules-$(KERNEL_FLAVOUR).cpio.zst >$@
	@ln -sfn $(KERNEL_FLAVOUR)/vmlinuz build/kernel/vmlinuz

build/tether.iso: build/initramfs iso/cmdline iso/make-iso
	$(say) Making $@"
	@iso/make-iso $(kernel)/vmlinuz build/initramfs $@

# ---- Programs that tests talk to -----------------------------------------------------------------------------------

build/interop: scripts/make-interop Tests/SSHTests/asyncssh/requirements.txt Tests/SSHTests/VICClient/main.go | packages
	$(say) Fetching and building the peers of the SSH tests"
	@scripts/make-interop $@
	@touch $@

# ---- Image disks ---------------------------------------------------------------------------------------------------

imaging := $(wildcard Sources/DiskImage/*) | build/tetherctl

build/sample.vmdk: scripts/make-busybox-root $(imaging)
	$(say) Making $@: an image disk with Debian's busybox"
	@scripts/make-busybox-root build/busybox-root
	@build/tetherctl image --from build/busybox-root --label containerfs --output $@

build/debian.tar: scripts/packages | packages
	$(say) Making a minimal Debian root file system"
	@mmdebstrap --quiet --variant=minbase bookworm $@

build/debian.vmdk: build/debian.tar $(imaging)
	$(say) Making $@"
	@build/tetherctl image --from build/debian.tar --label containerfs --output $@
