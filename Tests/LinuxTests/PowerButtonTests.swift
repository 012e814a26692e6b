import Testing

@testable import Linux

/// The messages of generic netlink by which presses of the power button come.
@Suite struct PowerButtonTests {
    private func attribute(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        NetlinkAttributes.append(type, value, to: &bytes)
        return bytes
    }

    private func datagram(_ type: UInt16, _ attributes: [UInt8]) -> [UInt8] {
        NetlinkMessage(type: type, flags: 0, sequence: 1, payload: [1, 2, 0, 0] + attributes).bytes
    }

    @Test func theFamilyIsAskedForByName() {
        let expected: [UInt8] =
            [36, 0, 0, 0, 16, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 15, 0, 2, 0] + Array("acpi_event".utf8) + [0, 0]
        #expect(GenericNetlink.familyRequest("acpi_event").bytes == expected)
    }

    @Test func theFirstGroupIsTaken() {
        let first = attribute(1, Array("acpi_mc_group".utf8) + [0]) + attribute(2, [9, 0, 0, 0])
        let groups = attribute(1, first) + attribute(2, attribute(2, [10, 0, 0, 0]))
        // NLA_F_NESTED is no part of the type.
        let answer = datagram(0x10, attribute(2, Array("acpi_event".utf8) + [0]) + attribute(7 | 0x8000, groups))
        #expect(GenericNetlink.firstMulticastGroup(in: answer) == 9)
        // An error (NLMSG_ERROR), another family, an answer that is cut anywhere.
        #expect(GenericNetlink.firstMulticastGroup(in: datagram(2, attribute(7, groups))) == nil)
        for length in 0..<answer.count { #expect(GenericNetlink.firstMulticastGroup(in: Array(answer.prefix(length))) == nil) }
    }

    @Test func onlyThePowerButtonIsOne() {
        func event(_ device: String) -> [UInt8] { datagram(24, attribute(1, Array(device.utf8) + [0, 0, 0])) }
        #expect(GenericNetlink.isPowerButton(event("button/power")) && GenericNetlink.isPowerButton(event("button/power PBTN")))
        #expect(!GenericNetlink.isPowerButton(event("button/sleep")) && !GenericNetlink.isPowerButton([]))
        #expect(!GenericNetlink.isPowerButton(Array(event("button/power").prefix(20))))
    }
}
