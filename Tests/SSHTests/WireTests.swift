import SSH
import Testing

@Suite struct WireTests {
    /// The examples of RFC 4251, section 5.
    @Test func multiplePrecisionIntegers() {
        func coded(_ magnitude: [UInt8]) -> [UInt8] {
            var writer = WireWriter()
            writer.mpint(magnitude)
            return writer.bytes
        }
        #expect(coded([]) == [0, 0, 0, 0])
        #expect(coded([0, 0]) == [0, 0, 0, 0])
        #expect(coded([0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7]) == [0, 0, 0, 8, 0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7])
        #expect(coded([0x80]) == [0, 0, 0, 2, 0, 0x80])
    }

    @Test func nameLists() {
        for list in [[], ["zlib"], ["zlib", "none"]] {
            var writer = WireWriter()
            writer.nameList(list)
            var reader = WireReader(writer.bytes)
            #expect(reader.nameList() == list)
            #expect(reader.isComplete)
        }
    }

    @Test func whatEndsEarlyIsMarked() {
        var reader = WireReader([0, 0, 0, 5, 1, 2])
        #expect(reader.string() == [])
        #expect(reader.hasFailed)
        #expect(reader.byte() == 0)
        #expect(!reader.isComplete)
        var huge = WireReader([0xff, 0xff, 0xff, 0xff])
        #expect(huge.string() == [])
        #expect(huge.hasFailed)
    }
}
