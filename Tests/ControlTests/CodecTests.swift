import Control
import SessionLog
import TestSupport
import Testing

/// Feeds `bytes` in pieces as their sizes come from `size`, and takes the messages as they become whole.
func decodeAll<Message: ControlMessage>(
    _: Message.Type, _ bytes: [UInt8], size: () -> Int = { .max }
) throws(ControlError) -> [DecodedFrame<Message>] {
    var decoder = FrameDecoder()
    var frames: [DecodedFrame<Message>] = []
    var position = 0
    while position < bytes.count {
        let piece = min(max(1, size()), bytes.count - position, decoder.room)
        #expect(piece > 0, "the decoder takes nothing although it has given out all messages")
        if piece == 0 { return frames }
        #expect(decoder.append(Array(bytes[position..<position + piece])) == piece)
        position += piece
        while let frame = try decoder.next(Message.self) { frames.append(frame) }
    }
    #expect(decoder.pending == 0)
    return frames
}

@Suite("Control protocol: codec") struct CodecTests {
    @Test("every client message survives encoding and decoding, however the stream is cut", arguments: 0..<MessageMaker.clientKinds)
    func clientMessages(_ kind: Int) throws {
        for seed in 0..<UInt64(60) {
            var maker = MessageMaker(seed: seed &* 1000 &+ UInt64(kind))
            let messages = (0..<4).map { _ in maker.client(kind) }
            var bytes: [UInt8] = []
            for message in messages { #expect(message.encode(into: &bytes)) }
            let limit = maker.one(of: [1, 3, 1000, Int.max])
            let frames = try decodeAll(ClientMessage.self, bytes) { limit }
            #expect(frames == messages.map { .message($0) }, "seed \(seed)")
        }
    }

    @Test("every server message does", arguments: 0..<MessageMaker.serverKinds)
    func serverMessages(_ kind: Int) throws {
        for seed in 0..<UInt64(60) {
            var maker = MessageMaker(seed: seed &* 1000 &+ UInt64(kind))
            let messages = (0..<4).map { _ in maker.server(kind) }
            var bytes: [UInt8] = []
            for message in messages { #expect(message.encode(into: &bytes)) }
            let limit = maker.one(of: [1, 3, 1000, Int.max])
            let frames = try decodeAll(ServerMessage.self, bytes) { limit }
            #expect(frames == messages.map { .message($0) }, "seed \(seed)")
        }
    }

    @Test("a mixed stream of messages keeps their order")
    func mixed() throws {
        var maker = MessageMaker(seed: 42)
        var bytes: [UInt8] = []
        var messages: [ServerMessage] = []
        for _ in 0..<500 {
            let message = maker.server(Int.random(in: 0..<MessageMaker.serverKinds, using: &maker.random))
            messages.append(message)
            message.encode(into: &bytes)
        }
        var cuts = SeededGenerator(seed: 7)
        let frames = try decodeAll(ServerMessage.self, bytes) { Int.random(in: 1...5000, using: &cuts) }
        #expect(frames == messages.map { .message($0) })
    }

    @Test("a body that is too short or too long is refused, at every length")
    func truncated() throws {
        var maker = MessageMaker(seed: 3)
        for kind in 0..<MessageMaker.serverKinds {
            // Where all that is left of the body belongs to the last field, no length is wrong.
            if kind == 5 || kind == 11 { continue }
            let frame = maker.server(kind).encoded
            for length in 1..<min(frame.count - 4, 200) {
                let cut = [UInt8(truncatingIfNeeded: length), UInt8(truncatingIfNeeded: length >> 8), 0, 0] + frame[4..<4 + length]
                #expect(throws: ControlError.self, "kind \(kind) cut to \(length)") { try decodeAll(ServerMessage.self, cut) }
            }
            let more = frame.count - 4 + 1
            let long = [UInt8(truncatingIfNeeded: more), UInt8(truncatingIfNeeded: more >> 8), UInt8(truncatingIfNeeded: more >> 16), 0]
            #expect(throws: ControlError.self, "kind \(kind) with a byte more") {
                try decodeAll(ServerMessage.self, long + frame[4...] + [0])
            }
        }
    }

    @Test("frames that are empty or too long are named, and nothing is read after them")
    func frameBounds() throws {
        var decoder = FrameDecoder()
        decoder.append([0, 0, 0, 0])
        #expect(throws: ControlError("read a frame", "of 0 bytes", "it is empty")) { try decoder.next(ClientMessage.self) }

        decoder = FrameDecoder()
        decoder.append([0xFF, 0xFF, 0xFF, 0xFF])
        let error = ControlError("read a frame", "of 4294967295 bytes", "a frame has at most \(ControlProtocol.maximumFrame)")
        #expect(throws: error) { try decoder.next(ClientMessage.self) }
        #expect(decoder.room == 0)
        #expect(decoder.append(ClientMessage.ping(tag: 1).encoded) == 0)
        #expect(throws: error) { try decoder.next(ClientMessage.self) }
        #expect(error.description == "read a frame of 4294967295 bytes: a frame has at most 65792")
    }

    @Test("a type that is not known is answered, not refused")
    func unknownType() throws {
        let unknown: [UInt8] = [6, 0, 0, 0, 99, 4, 3, 2, 1, 0xAA, 1, 0, 0, 0, 100]
        let frames = try decodeAll(ClientMessage.self, unknown + ClientMessage.ping(tag: 5).encoded)
        #expect(frames == [.unknown(type: 99, tag: 0x0102_0304), .unknown(type: 100, tag: 0), .message(.ping(tag: 5))])
        // A server's message is none of a client's.
        #expect(try decodeAll(ClientMessage.self, ServerMessage.pong(tag: 7).encoded) == [.unknown(type: 141, tag: 7)])
    }

    @Test("values that have no meaning are refused")
    func meaningless() throws {
        let bad: [[UInt8]] = [
            [7, 0, 0, 0, 134, 1, 0, 0, 0, 2, 0],  // eof with a byte too many
            [6, 0, 0, 0, 134, 1, 0, 0, 0, 2],  // eof of a third stream
            [6, 0, 0, 0, 136, 1, 0, 0, 0, 9],  // stdinClosed for an unknown reason
            [6, 0, 0, 0, 140, 1, 0, 0, 0, 6],  // an unknown event
        ]
        for frame in bad { #expect(throws: ControlError.self) { try decodeAll(ServerMessage.self, frame) } }
        #expect(try decodeAll(ServerMessage.self, [6, 0, 0, 0, 134, 1, 0, 0, 0, 1]) == [.message(.eof(tag: 1, .stderr))])
        // stop with a flag that is neither 0 nor 1
        #expect(throws: ControlError.self) { try decodeAll(ClientMessage.self, [7, 0, 0, 0, 13, 1, 0, 0, 0, 15, 2]) }
    }

    @Test("data longer than a message is cut into several with running offsets")
    func cutData() throws {
        let data = (0..<150_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let output = try decodeAll(ServerMessage.self, ServerMessage.output(tag: 1, .stderr, offset: 1000, data).encoded)
        var joined: [UInt8] = []
        for case .message(.output(1, .stderr, let offset, let piece)) in output {
            #expect(offset == 1000 + UInt64(joined.count))
            joined += piece
        }
        #expect(output.count == 3 && joined == data)
        var input: [UInt8] = []
        let pieces = try decodeAll(ClientMessage.self, ClientMessage.stdin(tag: 2, data).encoded)
        for case .message(.stdin(2, let piece)) in pieces { input += piece }
        #expect(input == data)
        #expect(ClientMessage.stdin(tag: 2, []).encoded.isEmpty)
    }

    @Test("texts and lists beyond their bounds are cut, documents are not sent")
    func cutTexts() throws {
        let long = String(repeating: "ü", count: 5000)
        let failure = ServerMessage.failed(tag: 1, RequestFailure(.failed, operation: "x" + long, object: "", cause: long))
        guard case .message(.failed(1, let cut))? = try decodeAll(ServerMessage.self, failure.encoded).first else {
            Issue.record("no message")
            return
        }
        // 4096 bytes would end in the middle of the last character where an "x" comes first.
        #expect(cut.operation == "x" + String(repeating: "ü", count: 2047))
        #expect(cut.cause == String(repeating: "ü", count: 2048))

        let args = ["sh", String(repeating: "a", count: 4000), String(repeating: "b", count: 4000), "c"]
        let listed = ServerMessage.session(tag: 1, SessionSummary(id: "main", kind: .primary, state: .running, args: args))
        guard case .message(.session(1, let summary))? = try decodeAll(ServerMessage.self, listed.encoded).first else {
            Issue.record("no message")
            return
        }
        #expect(summary.args == ["sh", args[1], String(repeating: "b", count: 94)])

        var bytes: [UInt8] = [1]
        let document = [UInt8](repeating: 0x20, count: ControlProtocol.maximumDocument + 1)
        #expect(!ClientMessage.exec(tag: 1, ExecRequest(process: document)).encode(into: &bytes))
        #expect(!ServerMessage.stats(tag: 1, document).encode(into: &bytes))
        #expect(bytes == [1])
    }

    @Test("bytes that are no UTF-8 in a text are replaced, as everywhere")
    func badText() throws {
        let frames = try decodeAll(ClientMessage.self, [9 + 2, 0, 0, 0, 11, 1, 0, 0, 0, 2, 0, 0, 0, 0x61, 0xFF])
        #expect(frames == [.message(.wait(tag: 1, session: "a\u{FFFD}"))])
    }

    @Test("random bytes never do more than be refused, and the decoder's memory stays bounded")
    func noise() {
        var maker = MessageMaker(seed: 99)
        for _ in 0..<3000 {
            var decoder = FrameDecoder()
            var frame = maker.flag() ? maker.client(Int.random(in: 0..<MessageMaker.clientKinds, using: &maker.random)).encoded : []
            for _ in 0..<3 where !frame.isEmpty {
                frame[Int.random(in: 0..<min(frame.count, 60), using: &maker.random)] = UInt8(truncatingIfNeeded: maker.random.next())
            }
            frame += maker.bytes(200)
            decoder.append(frame)
            var count = 0
            while let _ = try? decoder.next(ClientMessage.self) { count += 1 }
            #expect(decoder.pending <= ControlProtocol.maximumFrame + 4)
            #expect(count <= frame.count / 5)
        }
    }
}
