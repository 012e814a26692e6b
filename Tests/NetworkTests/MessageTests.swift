import ContainerSpec
import Linux
import Testing

@testable import Network

@Suite("rtnetlink messages") struct MessageTests {
    private func hex(_ request: RouteRequest) -> String {
        request.message(sequence: 7).bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }

    /// Written by hand after linux/netlink.h and linux/rtnetlink.h; that the kernel takes them, SystemTests see.
    @Test func requestsAreTheBytesTheKernelReads() throws {
        let address = try ipPrefix("192.0.2.7/24")
        let address6 = try ipPrefix("2001:db8::7/64")
        #expect(hex(.links) == "20000000" + "1200" + "0103" + "07000000" + "00000000" + String(repeating: "0", count: 32))
        #expect(
            hex(.setLink(index: 2, isUp: true))
                == "20000000" + "1300" + "0500" + "07000000" + "00000000" + "00000000" + "02000000" + "01000000" + "01000000")
        #expect(
            hex(.setLink(index: 2, name: "lan", mtu: 1400))
                == "30000000" + "1300" + "0500" + "07000000" + "00000000" + "00000000" + "02000000" + "00000000" + "00000000"
                + "08000300" + "6c616e00" + "08000400" + "78050000")
        #expect(
            hex(.addAddress(index: 2, address))
                == "30000000" + "1400" + "0505" + "07000000" + "00000000" + "02180000" + "02000000" + "08000200" + "c0000207"
                + "08000100" + "c0000207" + "08000400" + "c00002ff")
        #expect(
            hex(.removeAddress(index: 2, address6))
                == "40000000" + "1500" + "0500" + "07000000" + "00000000" + "0a400000" + "02000000"
                + "14000200" + "20010db8000000000000000000000007" + "14000100" + "20010db8000000000000000000000007")
        let gateway = try ipAddress("192.0.2.1")
        let standard = Route(to: nil, via: gateway, metric: 100, origin: .dhcp)
        #expect(
            hex(.addRoute(index: 2, standard))
                == "34000000" + "1800" + "0506" + "07000000" + "00000000" + "02000000" + "fe100001" + "00000000"
                + "08000500" + "c0000201" + "08000400" + "02000000" + "08000600" + "64000000")
        let onLink = Route(to: try ipPrefix("198.51.100.9/24"), via: nil, metric: nil, origin: .configuration)
        #expect(
            hex(.removeRoute(index: 2, onLink))
                == "2c000000" + "1900" + "0500" + "07000000" + "00000000" + "02180000" + "fe04ff01" + "00000000"
                + "08000100" + "c6336400" + "08000400" + "02000000")
        // Before what a router advertises, which has the kernel's own 1024.
        let default6 = Route(to: nil, via: try ipAddress("fe80::1"), metric: nil, origin: .configuration)
        #expect(hex(.addRoute(index: 2, default6)).hasSuffix("08000600" + "00020000"))
        #expect(hex(.removeRoute(index: 2, default6)).hasSuffix("08000600" + "00020000"))
        // Of two addresses neither is a broadcast.
        #expect(!hex(.addAddress(index: 2, try ipPrefix("192.0.2.6/31"))).contains("08000400"))
    }

    private func error(_ flags: UInt16, _ code: Int32, requestPayload: Int, _ text: String) -> NetlinkMessage {
        var payload: [UInt8] = []
        LittleEndian.append(UInt32(bitPattern: code), to: &payload)
        LittleEndian.append(UInt32(16 + requestPayload), to: &payload)
        payload += [UInt8](repeating: 0, count: 12)
        if flags & 0x100 == 0 { payload += [UInt8](repeating: 0xEE, count: (requestPayload + 3) & ~3) }
        if !text.isEmpty { NetlinkAttributes.append(1, text, to: &payload) }
        return NetlinkMessage(type: 2, flags: flags, sequence: 1, payload: payload)
    }

    @Test func errorsHaveTheKernelsText() {
        #expect(RouteAnswer(error(0x100, 0, requestPayload: 32, "")) == .acknowledged)
        #expect(
            RouteAnswer(error(0x300, -101, requestPayload: 32, "Nexthop has invalid gateway"))
                == .failed(Errno(rawValue: 101), text: "Nexthop has invalid gateway"))
        // A kernel that does not know NETLINK_CAP_ACK sends the whole request back, before the text.
        #expect(RouteAnswer(error(0x200, -22, requestPayload: 33, "no")) == .failed(.invalidArgument, text: "no"))
        #expect(RouteAnswer(error(0, -17, requestPayload: 32, "")) == .failed(.exists, text: ""))
        #expect(RouteAnswer(NetlinkMessage(type: 2, flags: 0, sequence: 1, payload: [1, 2, 3])) == nil)
        // The end of a list, and of one that the kernel could not finish.
        #expect(RouteAnswer(NetlinkMessage(type: 3, flags: 2, sequence: 1, payload: [0, 0, 0, 0])) == .done)
        #expect(RouteAnswer(NetlinkMessage(type: 3, flags: 2, sequence: 1, payload: [])) == .done)
        #expect(
            RouteAnswer(NetlinkMessage(type: 3, flags: 2, sequence: 1, payload: [0xF4, 0xFF, 0xFF, 0xFF]))
                == .failed(Errno(rawValue: 12), text: ""))
        // A length beyond the message, and the lowest number of all, are no reason to crash.
        var odd: [UInt8] = [0, 0, 0, 0x80, 0xFF, 0xFF, 0xFF, 0xFF]
        odd += [UInt8](repeating: 0, count: 12)
        #expect(RouteAnswer(NetlinkMessage(type: 2, flags: 0x200, sequence: 1, payload: odd)) == .failed(Errno(rawValue: .min), text: ""))
    }

    @Test func aDatagramMayHoldManyMessages() {
        let one = NetlinkMessage(type: 16, flags: 2, sequence: 9, payload: [1, 2, 3])
        let two = NetlinkMessage(type: 3, flags: 2, sequence: 9, payload: [0, 0, 0, 0])
        let padded = one.bytes + [0]
        #expect(NetlinkMessage.decode(padded + two.bytes) == [one, two])
        // What is cut off is not there.
        #expect(NetlinkMessage.decode(padded + two.bytes.dropLast()) == [one])
        #expect(NetlinkMessage.decode([16, 0, 0]) == [])
        #expect(NetlinkMessage.decode([UInt8](repeating: 0, count: 64)) == [])
        #expect(NetlinkMessage.decode([UInt8](repeating: 0xFF, count: 64)) == [])
    }

    @Test func linksAndAddressesAreRead() throws {
        var payload: [UInt8] = [0, 0, 1, 0]
        for number in [UInt32(3), 0x1043, 0] { LittleEndian.append(number, to: &payload) }
        NetlinkAttributes.append(3, "eth0", to: &payload)
        NetlinkAttributes.append(1, [0x52, 0x54, 0, 0x12, 0x34, 0x56], to: &payload)
        NetlinkAttributes.append(4, UInt32(1500), to: &payload)
        var link = Link(index: 3, name: "eth0")
        link.macAddress = [0x52, 0x54, 0, 0x12, 0x34, 0x56]
        link.mtu = 1500
        link.isUp = true
        link.isRunning = true
        #expect(RouteAnswer(NetlinkMessage(type: 16, flags: 0, sequence: 0, payload: payload)) == .link(link))
        #expect(RouteAnswer(NetlinkMessage(type: 17, flags: 0, sequence: 0, payload: payload)) == .linkGone(index: 3))
        #expect(RouteAnswer(NetlinkMessage(type: 16, flags: 0, sequence: 0, payload: Array(payload.prefix(16)))) == nil)

        var tentative: [UInt8] = [10, 64, 0xC0, 0, 3, 0, 0, 0]
        let prefix = try ipPrefix("2001:db8::7/64")
        NetlinkAttributes.append(1, prefix.address.bytes, to: &tentative)
        var address = LinkAddress(index: 3, prefix: prefix)
        address.isTentative = true
        #expect(RouteAnswer(NetlinkMessage(type: 20, flags: 0, sequence: 0, payload: tentative)) == .address(address))
        // A prefix that the address does not have.
        tentative[1] = 129
        #expect(RouteAnswer(NetlinkMessage(type: 20, flags: 0, sequence: 0, payload: tentative)) == nil)
    }

    /// Whatever comes, it is read to its end and nothing beyond.
    @Test func noDatagramIsTooOdd() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            var bytes = (0..<Int.random(in: 0...96, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            if bytes.count > 20, Bool.random(using: &generator) {
                // Else hardly any has a length that fits.
                bytes[0...3] = [UInt8(bytes.count), 0, 0, 0]
                bytes[4...5] = [[2, 16, 17, 20].randomElement(using: &generator) ?? 2, 0]
            }
            for message in NetlinkMessage.decode(bytes) { _ = RouteAnswer(message) }
        }
    }
}

@Suite("Adapters") struct AdapterTests {
    @Test(
        "VMware's PCI slots",
        arguments: [
            // As VMs of ESXi have them: ethernet0.pciSlotNumber and what Linux shows.
            (160, "../../devices/pci0000:00/0000:00:15.0/0000:03:00.0/net/ens160", true),
            (192, "../../devices/pci0000:00/0000:00:16.0/0000:0b:00.0/net/ens192", true),
            (1184, "../../devices/pci0000:00/0000:00:15.1/0000:04:00.0/net/eth0", true),
            (33, "../../devices/pci0000:00/0000:00:11.0/0000:02:01.0/net/ens33", true),
            (3, "../../devices/pci0000:00/0000:00:03.0/net/eth0", true),
            (3, "../../devices/pci0000:00/0000:00:03.0/virtio0/net/eth0", true),
            (160, "../../devices/pci0000:00/0000:00:16.0/0000:0b:00.0/net/ens192", false),
            (1184, "../../devices/pci0000:00/0000:00:15.0/0000:03:00.0/net/eth0", false),
            (32, "../../devices/pci0000:00/0000:00:11.0/0000:02:01.0/net/ens33", false),
            (3, "../../devices/pci0000:00/0000:00:15.0/0000:03:03.0/net/eth0", false),
            (0, "../../devices/virtual/net/lo", false), (0, "net", false), (0, "", false),
        ] as [(UInt32, String, Bool)])
    func slots(_ slot: UInt32, _ path: String, _ isThere: Bool) { #expect(Adapter.isAt(slot, path) == isThere) }

    @Test func theClientIdentifierIsTheMachines() {
        let address: [UInt8] = [0x52, 0x54, 0, 0x12, 0x34, 0x56]
        let bytes = ClientIdentifier.bytes(machine: "4C4C4544-0042", macAddress: address)
        #expect(ClientIdentifier.hexadecimal(Array(bytes.prefix(11))) == "ff00123456" + "0002" + "00001adc")
        #expect(bytes.count == 19)
        // Firmware and kernels differ in how they write it.
        #expect(bytes == ClientIdentifier.bytes(machine: "4c4c4544-0042", macAddress: address))
        #expect(bytes != ClientIdentifier.bytes(machine: "4c4c4544-0043", macAddress: address))
        // Two adapters of one machine are two clients of one machine.
        let other = ClientIdentifier.bytes(machine: "4c4c4544-0042", macAddress: [0x52, 0x54, 0, 0x12, 0x34, 0x57])
        #expect(other != bytes && other.suffix(14) == bytes.suffix(14))
        #expect(ClientIdentifier.bytes(machine: "", macAddress: address) != ClientIdentifier.bytes(machine: "", macAddress: []))
        // The hash is the published one: of "a", FNV-1a.
        #expect(
            ClientIdentifier.hexadecimal(Array(ClientIdentifier.bytes(machine: "a", macAddress: address).suffix(8))) == "af63dc4c8601ec8c")
    }
}
