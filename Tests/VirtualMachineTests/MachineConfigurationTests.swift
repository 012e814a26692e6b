import Testing

@testable import VirtualMachine

@Suite struct MachineConfigurationTests {
    private let channels = MachineConfiguration.Channels(
        gdb: 10, monitor: 11, console: 12, session: 13, attachSocket: "/tmp/a,b/attach.sock")

    private func machine(_ change: (inout MachineConfiguration) -> Void = { _ in }) -> [String] {
        var machine = MachineConfiguration(
            boot: .iso("/srv/tether.iso"), disks: [.init(path: "/srv/root,1.vmdk", format: .vmdk)], uuid: Array(0x10...0x1F))
        change(&machine)
        return machine.arguments(channels)
    }

    /// The values given to `option`, in order.
    private func values(_ option: String, _ line: [String]) -> [String] {
        zip(line, line.dropFirst()).filter { $0.0 == option }.map(\.1)
    }

    @Test func serialPortsComeInOrder() {
        #expect(values("-serial", machine()) == ["chardev:attach", "chardev:console", "chardev:session"])
        let chardevs = values("-chardev", machine())
        #expect(chardevs.contains("socket,id=attach,path=/tmp/a,,b/attach.sock,server=on,wait=off"))
        #expect(chardevs.contains("socket,id=session,fd=13"))
        #expect(chardevs.contains("socket,id=console,fd=12"))
    }

    @Test func looksLikeVMware() {
        #expect(
            values("-smbios", machine()) == [
                "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform,serial=VMware-10 11 12 13 14 15 16 17-18 19 1a 1b 1c 1d 1e 1f"
            ])
        #expect(values("-uuid", machine()) == ["10111213-1415-1617-1819-1a1b1c1d1e1f"])
        #expect(values("-cpu", machine()) == ["max,-hypervisor"])
        #expect(values("-cpu", machine { $0.accelerator = .kvm }) == ["host,-hypervisor"])
        #expect(values("-machine", machine { $0.accelerator = .kvm }) == ["q35,accel=kvm"])
    }

    @Test func isClosedToTheOutside() {
        let line = machine()
        for option in ["-nodefaults", "-no-reboot", "-S", "-no-user-config"] { #expect(line.contains(option)) }
        #expect(!line.contains("-nic") && !line.contains("-netdev"))
        #expect(values("-display", line) == ["none"])
    }

    @Test(
        "adapters are in the slots that VMware gives its own, and ports lead to the first",
        arguments: [
            (MachineConfiguration.Board.q35, "pcie-root-port,id=slot224,bus=pcie.0,addr=0x17.0,chassis=2,slot=2"),
            (.pc, "pci-bridge,id=slot224,bus=pci.0,addr=0x17.0,chassis_nr=2,shpc=off"),
        ])
    func networks(board: MachineConfiguration.Board, bridge: String) throws {
        let ports = try ["8080:80", "0.0.0.0:53:5353/udp"].map { try #require(MachineConfiguration.PublishedPort($0)) }
        let line = machine {
            $0.board = board
            $0.networks = [.user, .user]
            $0.publishedPorts = ports
        }
        #expect(
            values("-netdev", line) == [
                "user,id=net0,net=10.0.2.0/24,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:53-:5353", "user,id=net1,net=10.0.3.0/24",
            ])
        let devices = values("-device", line)
        #expect(devices.contains(bridge))
        #expect(devices.contains("vmxnet3,netdev=net0,bus=slot192,addr=0x0,mac=00:0c:29:1d:1e:1f,romfile="))
        #expect(devices.contains("vmxnet3,netdev=net1,bus=slot224,addr=0x0,mac=00:0c:29:1d:1e:20,romfile="))
        #expect(Set(MachineConfiguration.adapterSlots).count == MachineConfiguration.adapterSlots.count)
    }

    @Test(
        "what is no port",
        arguments: [
            "", "80", "80:", ":80", "0:80", "80:0", "65536:80", "80:80/sctp", "80:80/", "a:80", "+80:80", "1.2.3:80:80", "::1:80:80",
            "1.2.3.4.5:80:80",
            "host:80:80", "1.2.3.256:80:80", "1.2.3.4,x:80:80",
        ])
    func noPort(_ text: String) { #expect(MachineConfiguration.PublishedPort(text) == nil) }

    @Test func disksAreNeverProbedAndDiscardWrites() {
        let drives = values("-drive", machine { $0.disks.append(.init(path: "/srv/data", format: .raw, isPersistent: true)) })
        #expect(drives.contains("if=none,id=disk0,format=vmdk,snapshot=on,file=/srv/root,,1.vmdk"))
        #expect(drives.contains("if=none,id=disk1,format=raw,snapshot=off,file=/srv/data"))
    }

    @Test(arguments: [
        (MachineConfiguration.DiskController.pvscsi, ["pvscsi,id=disks", "scsi-hd,bus=disks.0,scsi-id=0,drive=disk0"]),
        (
            .lsisas,
            ["mptsas1068,id=disks,sas_address=0x5000c50015ea71ac", "scsi-hd,bus=disks.0,scsi-id=0,wwn=0x5000c50015ea7100,drive=disk0"]
        ),
        (.ahci, ["ahci,id=disks", "ide-hd,bus=disks.0,drive=disk0"]),
        (.nvme, ["nvme,serial=disk0,drive=disk0"]),
    ]) func controllers(controller: MachineConfiguration.DiskController, expected: [String]) {
        let devices = values("-device", machine { $0.controller = controller })
        #expect(devices.filter { !$0.hasPrefix("ide-cd") } == expected)
    }

    @Test func bootsFromWhatIsAsked() {
        #expect(values("-device", machine()).contains("ide-cd,bus=ide.0,drive=cd,bootindex=0"))
        #expect(values("-device", machine { $0.board = .pc }).contains("ide-cd,bus=ide.1,drive=cd,bootindex=0"))
        let direct = machine { $0.boot = .kernel(path: "/k", initrd: "/i", arguments: "quiet") }
        #expect(values("-kernel", direct) == ["/k"] && values("-initrd", direct) == ["/i"] && values("-append", direct) == ["quiet"])
        #expect(!direct.contains { $0.contains("ide-cd") })
        let uefi = machine { $0.firmware = .uefi(code: "/c.fd", variables: "/v.fd") }
        #expect(
            values("-drive", uefi).prefix(2) == [
                "if=pflash,unit=0,format=raw,readonly=on,file=/c.fd", "if=pflash,unit=1,format=raw,file=/v.fd",
            ])
    }

    @Test func extraArgumentsComeLast() {
        #expect(machine { $0.extraArguments = ["-device", "vmxnet3"] }.suffix(2) == ["-device", "vmxnet3"])
    }

    @Test func recognisesDiskFormats() throws {
        #expect(DiskFormat(firstBytes: Array("KDMV\u{1}".utf8)) == .vmdk)
        #expect(DiskFormat(firstBytes: Array("# Disk DescriptorFile\nversion=1".utf8)) == .vmdk)
        #expect(DiskFormat(firstBytes: [0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 3]) == .qcow2)
        #expect(DiskFormat(firstBytes: [UInt8](repeating: 0, count: 64)) == .raw)
        #expect(DiskFormat(firstBytes: []) == .raw)
        #expect(throws: VirtualMachineError.self) { try DiskFormat(path: "/nonexistent/disk") }
    }
}
