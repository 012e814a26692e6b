import CLinux
import Testing

@testable import Linux

@Suite("Uevent") struct UeventTests {
    private func parse(_ parts: [String]) -> Uevent? {
        let bytes = Array((parts.joined(separator: "\u{0}") + "\u{0}").utf8)
        return bytes.withUnsafeBytes { Uevent(parsing: $0) }
    }

    @Test func aDiskIsRead() {
        let event = parse([
            "add@/devices/pci0000:00/0000:00:10.0/host0/target0:0:0/0:0:0:0/block/sda", "ACTION=add",
            "DEVPATH=/devices/pci0000:00/0000:00:10.0/host0/target0:0:0/0:0:0:0/block/sda", "SUBSYSTEM=block", "MAJOR=8", "MINOR=0",
            "DEVNAME=sda", "DEVTYPE=disk", "DISKSEQ=3", "SEQNUM=1234",
        ])
        #expect(event?.action == "add")
        #expect(event?.subsystem == "block")
        #expect(event?.deviceName == "sda")
        #expect(event?.modalias == nil)
        #expect(event?.sequenceNumber == 1234)
    }

    @Test func aModaliasMayHoldEqualsSigns() {
        #expect(parse(["add@/d", "ACTION=add", "DEVPATH=/d", "MODALIAS=of:N=x"])?.modalias == "of:N=x")
    }

    @Test(arguments: [["libudev"], ["add@/d"], ["add@/d", "ACTION=add"], [""], ["noat", "ACTION=add", "DEVPATH=/d"]])
    func otherMessagesAreRefused(_ parts: [String]) {
        #expect(parse(parts) == nil)
    }

    @Test func anEmptySocketSaysSo() throws {
        let socket = try UeventSocket()
        // Other devices of this machine may speak at any time: read until none is waiting.
        var reading = try socket.next()
        for _ in 0..<10_000 where reading != .none { reading = try socket.next() }
        #expect(reading == .none)
    }
}
