import Testing

@testable import VirtualMachine

@Suite struct GDBPacketTests {
    private func events(_ text: String, chunk: Int = .max) throws -> [GDBPacketDecoder.Event] {
        try events(Array(text.utf8), chunk: chunk)
    }

    private func events(_ bytes: [UInt8], chunk: Int = .max) throws -> [GDBPacketDecoder.Event] {
        var decoder = GDBPacketDecoder()
        var found: [GDBPacketDecoder.Event] = []
        var start = 0
        while start < bytes.count {
            let end = chunk < bytes.count - start ? start + chunk : bytes.count
            decoder.append(bytes[start..<end])
            while let event = try decoder.next() { found.append(event) }
            start = end
        }
        return found
    }

    @Test func encodesWithChecksum() {
        #expect(GDBPacket.encode("OK".utf8) == Array("$OK#9a".utf8))
        #expect(GDBPacket.encode([]) == Array("$#00".utf8))
    }

    @Test func escapesWhatDelimitsPackets() throws {
        let payload = Array("a#b$c}d*e".utf8)
        let packet = GDBPacket.encode(payload)
        #expect(packet.dropFirst().dropLast(3).allSatisfy { $0 != UInt8(ascii: "#") && $0 != UInt8(ascii: "$") && $0 != UInt8(ascii: "*") })
        #expect(try events(packet) == [.packet(payload)])
    }

    @Test(arguments: [1, 2, 3, 7, 100]) func findsPacketsInAnyChunks(chunk: Int) throws {
        let found = try events("+$OK#9a+-garbage$E14#aa%Stop#a6", chunk: chunk)
        #expect(
            found == [
                .acknowledgement, .packet(Array("OK".utf8)), .acknowledgement, .retransmissionRequest, .packet(Array("E14".utf8)),
                .notification(Array("Stop".utf8)),
            ])
    }

    @Test func resolvesRunLengths() throws {
        // gdb's manual: "0* " stands for "0000".
        let sum = "0* ".utf8.reduce(UInt8(0)) { $0 &+ $1 }
        let text = "$0* #" + String(sum, radix: 16)
        #expect(try events(text) == [.packet(Array("0000".utf8))])
    }

    @Test(arguments: ["$OK#9b", "$*!#4b", "$OK#zz", "$a*\u{1F}#aa"]) func refusesDamage(text: String) {
        #expect(throws: GDBPacketDecoder.Failure.self) { try events(text) }
    }

    @Test func refusesEndlessPackets() {
        let bytes = [UInt8(ascii: "$")] + [UInt8](repeating: UInt8(ascii: "a"), count: GDBPacketDecoder.limit + 1)
        #expect(throws: GDBPacketDecoder.Failure.tooLong) { try events(bytes) }
    }

    @Test func hexadecimal() {
        #expect(Hexadecimal.encode([0x00, 0xAF, 0x10]) == Array("00af10".utf8))
        #expect(Hexadecimal.decode(Array("00AF10".utf8)) == [0x00, 0xAF, 0x10])
        #expect(Hexadecimal.decode(Array("0".utf8)) == nil)
        #expect(Hexadecimal.decode(Array("0x".utf8)) == nil)
        #expect(UInt64(littleEndian: [1, 2, 3, 4, 5, 6, 7, 8], at: 0) == 0x0807_0605_0403_0201)
        #expect(UInt64(littleEndian: [1, 2, 3, 4, 5, 6, 7, 8], at: 1) == nil)
        #expect(UInt64(0x1122).littleEndianBytes == [0x22, 0x11, 0, 0, 0, 0, 0, 0])
    }

    @Test func readsRegisterLayout() throws {
        var target = GDBTargetDescription()
        #expect(target.add("<?xml version='1.0'?><target><xi:include href=\"core.xml\"/></target>") == ["core.xml"])
        let core = """
            <!-- <reg name="ghost" bitsize="64"/> -->
            <feature name="org.gnu.gdb.i386.core"><flags id="f" size="4"><field name="CF" start="0" end="0"/></flags>
            <reg name="rax" bitsize="64" type="int64" regnum="0"/><reg name="eflags" bitsize="32" type="f"/>
            <!--reg name="ss_base" bitsize="64" type="int64"/-->
            <reg name="cr3" bitsize="64"/><reg name="late" bitsize="8" regnum="40"/></feature>
            """
        #expect(target.add(core).isEmpty)
        #expect(target.registers["ghost"] == nil)
        #expect(target.registers["cr3"] == .init(number: 2, offset: 12, size: 8))
        #expect(target.registers["late"] == .init(number: 40, offset: 20, size: 1))
        let bytes = (0..<21).map { UInt8($0) }
        #expect(target.value("eflags", in: bytes) == 0x0B0A_0908)
        #expect(target.value("cr3", in: bytes) == 0x1312_1110_0F0E_0D0C)
        #expect(target.value("cr3", in: Array(bytes.prefix(19))) == nil)
    }
}
