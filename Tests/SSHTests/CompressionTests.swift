@testable import SSH
import CZlib
import Testing

/// zlib's streams: what one side compresses, and what somebody else made up.
@Suite struct CompressionTests {
    private let maximum = Transport.maximumPacket

    private func opened(_ packet: [UInt8], by decompressor: Decompressor? = Decompressor()) -> [UInt8]? {
        packet.withUnsafeBufferPointer { decompressor?.decompress($0, maximum: maximum) }
    }

    private func compressed(_ count: Int) throws -> [UInt8] {
        try #require(Compressor()?.compress([UInt8](repeating: 7, count: count)))
    }

    /// As many bytes as may come out and not one more, whatever a packet promises.
    @Test func theBound() throws {
        #expect(opened(try compressed(maximum)) == [UInt8](repeating: 7, count: maximum))
        #expect(opened(try compressed(maximum + 1)) == nil)
        let bomb = try compressed(10_000_000)
        #expect(bomb.count < 20_000)
        #expect(opened(bomb) == nil)
    }

    @Test func packetsFollowOneAnother() throws {
        let compressor = try #require(Compressor())
        let decompressor = try #require(Decompressor())
        var sizes: [Int] = []
        for size in [0, 1, 10, 30_000, 1, 30_000] {
            let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* $0) }
            let packet = try #require(compressor.compress(payload))
            sizes.append(packet.count)
            #expect(opened(packet, by: decompressor) == payload)
        }
        // What came before is remembered.
        #expect(sizes[5] < sizes[3] / 2)
    }

    @Test func whatIsNoStream() throws {
        let packet = try compressed(100)
        #expect(opened([1, 2, 3, 4]) == nil)
        for index in 0..<2 {
            var changed = packet
            changed[index] ^= 0x10
            #expect(opened(changed) == nil)
        }
        // The stream does not end: there is always another packet.
        var whole = [UInt8](repeating: 0, count: 100)
        var size = UInt(whole.count)
        #expect(compress(&whole, &size, [1, 2, 3], 3) == Z_OK)
        #expect(opened(Array(whole[..<Int(size)])) == nil)
    }

    /// The rest comes with the next packet, or never: what was there comes out, and is not made up.
    @Test func aStreamThatIsCut() throws {
        let packet = try compressed(100)
        for end in packet.indices {
            let decompressor = try #require(Decompressor())
            let first = try #require(opened(Array(packet[..<end]), by: decompressor))
            #expect(first.count <= 100)
            #expect(opened(Array(packet[end...]), by: decompressor).map { first + $0 } == [UInt8](repeating: 7, count: 100))
        }
    }
}
