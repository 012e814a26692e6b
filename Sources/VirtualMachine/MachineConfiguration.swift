/// The hardware of a container VM.
public struct MachineConfiguration: Sendable, Equatable {
    /// A disk of the VM.
    public struct Disk: Sendable, Equatable {
        public var path: String
        public var format: DiskFormat
        /// Whether what the guest writes ends up in the file. If not, it goes to a temporary file that only QEMU sees.
        public var isPersistent: Bool

        public init(path: String, format: DiskFormat, isPersistent: Bool = false) {
            self.path = path
            self.format = format
            self.isPersistent = isPersistent
        }
    }

    /// What the guest boots from.
    public enum Boot: Sendable, Equatable {
        /// A CD in the VM's drive.
        case iso(String)
        /// A kernel that QEMU puts into memory itself: for work on the guest without an ISO.
        case kernel(path: String, initrd: String?, arguments: String)
    }

    public enum Firmware: Sendable, Equatable {
        case bios
        /// OVMF: its code, and this VM's own copy of its variables.
        case uefi(code: String, variables: String)
    }

    /// The board. q35 has AHCI, pc an IDE controller.
    public enum Board: String, Sendable, CaseIterable { case q35, pc }

    /// What the disks hang on.
    public enum DiskController: String, Sendable, CaseIterable {
        /// VMware's paravirtual SCSI.
        case pvscsi
        case nvme
        case ahci
        /// LSI Logic SAS 1068. Debian's cloud kernel has no driver for it.
        case lsisas
    }

    public enum Accelerator: String, Sendable, CaseIterable { case kvm, tcg }

    public var boot: Boot
    public var disks: [Disk]
    public var firmware = Firmware.bios
    public var board = Board.q35
    public var controller = DiskController.pvscsi
    public var accelerator = Accelerator.tcg
    /// MiB.
    public var memory = 512
    public var cpus = 1
    /// An adapter each, in the first of ``adapterSlots``; no more than these.
    public var networks: [Network] = []
    /// On the first adapter.
    public var publishedPorts: [PublishedPort] = []
    /// Identifies the VM; 16 bytes.
    public var uuid: [UInt8]
    /// Further QEMU options, appended as they are.
    public var extraArguments: [String] = []

    public init(boot: Boot, disks: [Disk], uuid: [UInt8]) {
        self.boot = boot
        self.disks = disks
        self.uuid = uuid
    }

    /// The ends of the channels that QEMU is given.
    public struct Channels: Sendable, Equatable {
        /// Connected sockets, by number.
        public var gdb: Int32
        public var monitor: Int32
        public var console: Int32
        public var session: Int32
        /// Path of the unix socket on which serial0 listens.
        public var attachSocket: String

        public init(gdb: Int32, monitor: Int32, console: Int32, session: Int32, attachSocket: String) {
            self.gdb = gdb
            self.monitor = monitor
            self.console = console
            self.session = session
            self.attachSocket = attachSocket
        }
    }

    /// QEMU's arguments, without its name. The VM waits, stopped, for the gdb channel to let it run.
    public func arguments(_ channels: Channels) -> [String] {
        var line = ["-name", "tether", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-S"]
        line += ["-machine", "\(board.rawValue),accel=\(accelerator.rawValue)", "-m", "\(memory)M", "-smp", "\(cpus)"]
        // With the hypervisor bit clear and a serial number like VMware's, Linux asks the backdoor port for the version,
        // gets VMware's answer (from QEMU's own vmport device, in ring 0), and takes this for a VMware VM.
        line += ["-cpu", accelerator == .kvm ? "host,-hypervisor" : "max,-hypervisor"]
        line += ["-uuid", Self.uuidText(uuid)]
        let system = [("manufacturer", "VMware, Inc."), ("product", "VMware Virtual Platform"), ("serial", Self.serialNumber(uuid))]
        line += ["-smbios", (["type=1"] + system.map { "\($0)=\(Self.escape($1))" }).joined(separator: ",")]

        line += ["-chardev", "socket,id=attach,path=\(Self.escape(channels.attachSocket)),server=on,wait=off", "-serial", "chardev:attach"]
        for (name, descriptor) in [("console", channels.console), ("session", channels.session)] {
            line += ["-chardev", "socket,id=\(name),fd=\(descriptor)", "-serial", "chardev:\(name)"]
        }
        line += ["-chardev", "socket,id=gdb,fd=\(channels.gdb)", "-gdb", "chardev:gdb"]
        line += ["-chardev", "socket,id=monitor,fd=\(channels.monitor)", "-mon", "chardev=monitor,mode=control"]
        line += firmwareArguments + bootArguments + diskArguments + networkArguments
        return line + extraArguments
    }

    private var firmwareArguments: [String] {
        guard case .uefi(let code, let variables) = firmware else { return [] }
        return [
            "-drive", "if=pflash,unit=0,format=raw,readonly=on,file=\(Self.escape(code))",
            "-drive", "if=pflash,unit=1,format=raw,file=\(Self.escape(variables))",
        ]
    }

    private var bootArguments: [String] {
        switch boot {
        case .iso(let path):
            let drive = ["-drive", "if=none,id=cd,media=cdrom,readonly=on,format=raw,file=\(Self.escape(path))"]
            if case .uefi = firmware {
                // Not the IDE drive: when the gdb stub stops the VM while UEFI firmware reads from that one, QEMU 7.2 waits for
                // ever for the request to end.
                return drive + ["-device", "virtio-scsi-pci,id=cd-bus", "-device", "scsi-cd,bus=cd-bus.0,drive=cd,bootindex=0"]
            }
            return drive + ["-device", "ide-cd,bus=\(board == .q35 ? "ide.0" : "ide.1"),drive=cd,bootindex=0"]
        case .kernel(let path, let initrd, let arguments):
            return ["-kernel", path] + (initrd.map { ["-initrd", $0] } ?? []) + ["-append", arguments]
        }
    }

    private var diskArguments: [String] {
        if disks.isEmpty { return [] }
        var line: [String] = []
        switch controller {
        case .pvscsi: line += ["-device", "pvscsi,id=disks"]
        // Without addresses of their own the SAS controller finds no disks.
        case .lsisas: line += ["-device", "mptsas1068,id=disks,sas_address=0x5000c50015ea71ac"]
        case .ahci: line += ["-device", "ahci,id=disks"]
        case .nvme: break
        }
        for (index, disk) in disks.enumerated() {
            let snapshot = disk.isPersistent ? "off" : "on"
            line += [
                "-drive", "if=none,id=disk\(index),format=\(disk.format.rawValue),snapshot=\(snapshot),file=\(Self.escape(disk.path))",
            ]
            let device =
                switch controller {
                case .pvscsi: "scsi-hd,bus=disks.0,scsi-id=\(index),drive=disk\(index)"
                case .lsisas:
                    "scsi-hd,bus=disks.0,scsi-id=\(index),wwn=0x\(String(0x5000_C500_15EA_7100 + index, radix: 16)),drive=disk\(index)"
                case .ahci: "ide-hd,bus=disks.\(index),drive=disk\(index)"
                case .nvme: "nvme,serial=disk\(index),drive=disk\(index)"
                }
            line += ["-device", device]
        }
        return line
    }

    /// A comma ends a value in QEMU's option syntax; two stand for one.
    static func escape(_ value: String) -> String { value.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,") }

    /// The 8-4-4-4-12 form of RFC 9562.
    static func uuidText(_ bytes: [UInt8]) -> String {
        let digits = String(decoding: Hexadecimal.encode(bytes.prefix(16)), as: UTF8.self)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(index) { text += "-" }
            text.append(digit)
        }
        return text
    }

    /// The form VMware gives a VM's serial number: `VMware-56 4d 00 11 22 33 44 55-66 77 …`.
    static func serialNumber(_ bytes: [UInt8]) -> String {
        let pairs = bytes.prefix(16).map { String(decoding: Hexadecimal.encode(CollectionOfOne($0)), as: UTF8.self) }
        return "VMware-" + pairs.prefix(8).joined(separator: " ") + "-" + pairs.dropFirst(8).joined(separator: " ")
    }
}
