import Control
import Testing

/// The synchronisation of a serial line, without one.
@Suite("Control protocol: serial line") struct LineTests {
    private func receive(
        _ receiver: inout LineReceiver, _ bytes: [UInt8], chunk: Int
    ) -> (data: [UInt8], reply: [UInt8], LineReceiver.Finding) {
        var (data, reply): ([UInt8], [UInt8]) = ([], [])
        for start in stride(from: 0, to: bytes.count, by: chunk) {
            let piece = Array(bytes[start..<min(bytes.count, start + chunk)])
            let finding = piece.withUnsafeBytes { receiver.receive($0, data: &data, reply: &reply) }
            if finding != .nothing { return (data, reply, finding) }
        }
        return (data, reply, .nothing)
    }

    private func escaped(_ data: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        data.withUnsafeBytes { SerialLine.escape($0, into: &bytes) }
        return bytes
    }

    @Test("a conversation begins after any noise, and every byte passes", arguments: [1, 2, 7, 100_000])
    func begin(_ chunk: Int) {
        var maker = MessageMaker(seed: 5)
        for nonce in ["0", "0123456789abcdef", String(repeating: "f", count: 32)] {
            let noise: [[UInt8]] = [
                [], [0xFF], [0xFF, 0xFF], Array("SeaBIOS\r\n".utf8), [0xFF, 0x53], [0xFF, 0x53] + Array("tether-control/".utf8),
                [0xFF, 0x53] + Array("tether-control/1 \n".utf8), [0xFF, 0x53] + Array("tether-control/2 0\n".utf8), [0xFF, 0x44, 0x53],
                Array("tether-control/1 00\n".utf8), maker.bytes(3000, atLeast: 3000).filter { $0 != 0xFF },
            ]
            for noise in noise {
                var receiver = LineReceiver()
                let before = receive(&receiver, noise, chunk: chunk)
                #expect(before.data.isEmpty && before.reply.isEmpty && before.2 == .nothing && !receiver.isOpen, "\(noise)")
                let data = [0xFF, 0xFF, 0x53, 0xFF] + maker.bytes(500, atLeast: 500)
                let got = receive(&receiver, SerialLine.synchronisation(nonce: nonce) + escaped(data), chunk: chunk)
                #expect(got.data == data && got.reply == Array("tether-control/1 \(nonce)\n".utf8) && got.2 == .nothing)
                #expect(receiver.isOpen)
            }
        }
    }

    @Test("a nonce that is none does not begin one", arguments: ["", "G", "a b", "A", String(repeating: "0", count: 33)])
    func badNonce(_ nonce: String) {
        var receiver = LineReceiver()
        let got = receive(&receiver, SerialLine.synchronisation(nonce: nonce), chunk: 1000)
        #expect(got.reply.isEmpty && !receiver.isOpen)
    }

    @Test("the same client may ask again; another one ends the conversation, wherever it breaks in", arguments: [1, 1000])
    func restart(_ chunk: Int) {
        let first = SerialLine.synchronisation(nonce: "1")
        let data = [UInt8](repeating: 0xFF, count: 5) + Array("tether-control/1 2\n".utf8)
        let sent = escaped(data)
        var receiver = LineReceiver()
        #expect(receive(&receiver, first + first + sent, chunk: chunk) == (data, Array("tether-control/1 1\n".utf8), .nothing))
        for cut in 0...sent.count {
            var receiver = LineReceiver()
            let got = receive(&receiver, first + sent[..<cut] + SerialLine.synchronisation(nonce: "2"), chunk: chunk)
            // Cut between a mark and what belongs to it, the line is damaged; anywhere else it is seen to begin anew.
            let isHalf = cut > 0 && sent[cut - 1] == 0xFF
            #expect(got.2 == (isHalf ? .damaged : .restarted))
            #expect(data.starts(with: got.data), "nothing of the second client is taken for the first one's data")
        }
    }

    @Test("the answer is found behind anything, also behind a part of itself")
    func answer() {
        let answer = SerialLine.answer(nonce: "abab")
        let before: [[UInt8]] = [
            [], Array("te".utf8), Array("tet".utf8), Array("tether-control/1 ab".utf8), Array("tether-control/1 aba".utf8),
            Array("tether-control/1 abac\n".utf8), [0xFF, 0, 0x74],
        ]
        for noise in before {
            for chunk in [1, 3, 1000] {
                var finder = AnswerFinder(nonce: "abab")
                let stream = noise + answer + answer
                var skipped = 0
                for start in stride(from: 0, to: stream.count, by: chunk) {
                    let piece = Array(stream[start..<min(stream.count, start + chunk)])
                    skipped += piece.withUnsafeBytes { finder.skip($0) }
                }
                #expect(finder.isFound && skipped == noise.count + answer.count)
            }
        }
    }
}
