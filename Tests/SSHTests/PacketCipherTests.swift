@testable import SSH
import Testing

/// Packets that another implementation (OpenSSL's primitives, put together as the specifications say) made of the same keys.
@Suite struct PacketCipherTests {
    struct Vector: CustomTestStringConvertible {
        let name: String
        let suite: CipherSuite
        /// `packet_length` of each packet.
        let length: Int
        let expected: String
        var testDescription: String { name }
    }

    static let firstSequence: UInt32 = 0x8000_0003

    static let vectors = [
        Vector(
            name: "chacha20-poly1305", suite: .chacha20Poly1305, length: 40,
            expected: "6231658a7b43c85453346a4265598e46219007119b4d15f1d5eb782a7589e05456527851c90f1c8ca0b146cb8ca5db0490f941c1bafdca19"
                + "469af008"),
        Vector(
            name: "aes128-gcm", suite: .gcm(keySize: 16), length: 48,
            expected: "000000301c6346aacd1f9cd1a9071757c89f778f5af90080142449c156c6012002373b20601dbacb7de5239a98412e4f848b4d0e7e9bb72c"
                + "d60ce60c6e585836a22721ce0000003068797b14a05c3dde4fcbfd1976aed1d45f9672f7c0ee8fb8a824bb530bbd7f35bec583ce470db06d"
                + "6e5d02fd12f6a32c149f96132990cd68b22b7a8b48863830"),
        Vector(
            name: "aes256-gcm", suite: .gcm(keySize: 32), length: 48,
            expected: "000000304e1ad6696ff472b50c5b1faf9430369e28b37e750de167e905781cff4566699b4e08a82fbaef9f0fefea7136f44bc3c617a3e282"
                + "e29b1fded25320ea34423a0800000030e51a42198a73fe6c40d858a7626a3c90082df241e7e0c5ccb979a2f04929c976d6872db10e86e049"
                + "4d33d0b86ae98616dc2537d58607673b03649ff63c6b8d9a"),
        Vector(
            name: "aes128-ctr, etm", suite: .counter(keySize: 16, macOfCiphertext: true), length: 48,
            expected: "0000003098be6693ab01ca533f3e55cfdfb0d8f806fe18b8d8ad7442891884bfde3c7389d9bb873e260b6f6e59cf2e6e55f46c4731a0943c"
                + "1927c21a6f8d72676e63baca3f9195d109afb7e7a1534512187915a10000003050cdb5c69a5418ebf17e80a4f9579be3e46093a1e1ca4c50"
                + "7bcfbaa16dd2a213d0a02881d5c70b8ec9dd2128b50b7789c28f3e35e122b8fcbca525927aecda934dff27cfbf0f96d65caaba098797722f"),
        Vector(
            name: "aes256-ctr, etm", suite: .counter(keySize: 32, macOfCiphertext: true), length: 48,
            expected: "0000003095d9192fa03d9f664cb4ffeca8eaccbfdf98f37a865e8143d0df24ed24492d411a2072be2054a953b047b186638f8c065ddc4912"
                + "1c4dfa135b6d4c9f789958be3705258300222a6fbe37a3b3e3dd2f5b000000303a4452d40cac5f3c7341b3edb9367787c9008e539b14c840"
                + "e195172d6f69419abfcd9fd6149e5d666b82beaeda0d06f10047477f3b2aba84f81f198ea70c2bbe8aaf15149b78f6fddfa98cc6c27a299f"),
        Vector(
            name: "aes128-ctr", suite: .counter(keySize: 16, macOfCiphertext: false), length: 44,
            expected: "9ebf6eb0bb1de6771b1a31a3a3dcc4dc22da3ca4345198a6ad3ca093c2500fedbd9fa3020a17838abd2b2e6e55f46c47b133e888fdddd2c6"
                + "dbb59de3d649799f0d95d4596ce2361ce65e768d93282e1656ccbde58a4834cfd55ae4c8853b87c7c044b7bd0d36a0b45feb9e8d71bede77"
                + "b4840cbdf9dbe76a2d392128b50b778998b27001aadaebeb3d14af486e39f13f826d9b617656c9aaf7394e8df5481c55"),
        Vector(
            name: "aes256-ctr", suite: .counter(keySize: 32, macOfCiphertext: false), length: 44,
            expected: "93d8110cb021b34268909b80d486d09bfbbcd7666aa26da7f4fb00c1382551257e0456820c4845b754a3b186638f8c06b133e888fdddd2c6"
                + "dbb59de3d649799f0d95d4596ce2361ce65e768d93282e163c455af71cb073185765d781c55a6ba3ed24aa4f77e824a4c5b1330173053dfe"
                + "dbe9bbea3882b1828f66beaeda0d06f198b27001aadaebeb3d14af486e39f13f826d9b617656c9aaf7394e8df5481c55"),
    ]

    private func cipher(_ suite: CipherSuite) -> PacketCipher {
        suite.makeCipher(
            key: Array((0..<64).prefix(suite.keySize)), initialVector: Array((100..<116).prefix(suite.initialVectorSize)),
            macKey: Array((200..<232).prefix(suite.macKeySize)))
    }

    private func plain(_ length: Int) -> [UInt8] {
        [0, 0, 0, UInt8(length), 6] + (0..<length - 7).map { UInt8(truncatingIfNeeded: $0 * 7 + 1) } + [UInt8](repeating: 9, count: 6)
    }

    @Test(arguments: vectors) func packetsAreTheOnesOfOthers(_ vector: Vector) {
        let expected = bytes(hexadecimal: vector.expected)
        let sealing = cipher(vector.suite)
        var sealed: [UInt8] = []
        let size = vector.length + 4
        for number in 0..<(expected.count / (size + sealing.tagSize)) {
            var packet = plain(vector.length) + [UInt8](repeating: 0, count: sealing.tagSize)
            packet.withUnsafeMutableBufferPointer {
                sealing.seal($0.baseAddress!, size: size, sequence: Self.firstSequence + UInt32(number))
            }
            sealed += packet
        }
        #expect(sealed == expected)
    }

    @Test(arguments: vectors) func packetsOfOthersAreOpened(_ vector: Vector) {
        let expected = bytes(hexadecimal: vector.expected)
        let opening = cipher(vector.suite)
        let size = vector.length + 4
        let whole = size + opening.tagSize
        #expect(expected.count % whole == 0 && !expected.isEmpty)
        for number in 0..<(expected.count / whole) {
            var packet = Array(expected[number * whole..<(number + 1) * whole])
            packet.withUnsafeMutableBufferPointer {
                let sequence = Self.firstSequence + UInt32(number)
                #expect(opening.length($0.baseAddress!, sequence: sequence) == UInt32(vector.length))
                #expect(opening.open($0.baseAddress!, size: size, sequence: sequence))
            }
            // chacha20-poly1305 leaves the length as it came.
            #expect(packet[4..<size] == plain(vector.length)[4...])
        }
    }

    /// Any bit: of the length, the content, or the tag; and another sequence number, where that is authenticated.
    @Test(arguments: vectors) func aChangedPacketIsNotOpened(_ vector: Vector) {
        let expected = bytes(hexadecimal: vector.expected)
        let size = vector.length + 4
        let whole = size + cipher(vector.suite).tagSize
        func opens(_ packet: [UInt8], sequence: UInt32 = Self.firstSequence) -> Bool {
            let opening = cipher(vector.suite)
            var packet = packet
            return packet.withUnsafeMutableBufferPointer {
                _ = opening.length($0.baseAddress!, sequence: sequence)
                return opening.open($0.baseAddress!, size: size, sequence: sequence)
            }
        }
        let original = Array(expected[..<whole])
        #expect(opens(original))
        for bit in 0..<whole * 8 {
            var packet = original
            packet[bit / 8] ^= 1 << (bit % 8)
            #expect(!opens(packet), "bit \(bit)")
        }
        if case .gcm = vector.suite { return }
        #expect(!opens(original, sequence: Self.firstSequence + 1))
    }
}

func bytes(hexadecimal text: String) -> [UInt8] {
    let digits = text.compactMap { $0.hexDigitValue.map { UInt8($0) } }
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}
