// Feeds the readers of the control protocol whatever libFuzzer makes up, and holds them to what they promise. A promise broken
// is a trap, which libFuzzer reports with the input that caused it.
import Control

/// The first byte chooses how the rest is cut into chunks; the rest is what came from the other side.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let stream = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let chunk = Int(start[0]) + 1
    checkFrames(ClientMessage.self, stream, chunk)
    checkFrames(ServerMessage.self, stream, chunk)
    checkLine(stream, chunk)
    checkAnswer(stream, chunk)
    return 0
}

private struct Decoded<Message: ControlMessage & Equatable>: Equatable {
    var frames: [DecodedFrame<Message>] = []
    var error: ControlError?
}

private func decode<Message: ControlMessage & Equatable>(_: Message.Type, _ stream: [UInt8], _ chunk: Int) -> Decoded<Message> {
    var decoder = FrameDecoder()
    var decoded = Decoded<Message>()
    var position = 0
    while position < stream.count {
        let taken = decoder.append(Array(stream[position..<min(stream.count, position + chunk)]))
        precondition(taken > 0, "the decoder takes nothing although all its messages were taken")
        position += taken
        precondition(decoder.pending <= ControlProtocol.maximumFrame + 4, "the decoder holds too much")
        do throws(ControlError) {
            while let frame = try decoder.next(Message.self) { decoded.frames.append(frame) }
        } catch {
            decoded.error = error
            precondition(decoder.room == 0 && decoder.pending == 0, "a decoder that failed goes on")
            return decoded
        }
    }
    return decoded
}

/// The chunks do not matter, there are no more messages than bytes allow, and a message that was understood can be written
/// again and means the same.
private func checkFrames<Message: ControlMessage & Equatable>(_ type: Message.Type, _ stream: [UInt8], _ chunk: Int) {
    let decoded = decode(type, stream, .max)
    precondition(decoded == decode(type, stream, chunk), "the result depends on the chunks")
    precondition(decoded.frames.count <= stream.count / 5, "messages out of nothing")
    for case .message(let message) in decoded.frames {
        var bytes: [UInt8] = []
        precondition(message.encode(into: &bytes), "what was read is too long to be written")
        // Data of no length is written as no message at all.
        if bytes.isEmpty { continue }
        let again = decode(type, bytes, .max)
        precondition(again.error == nil && again.frames.count == 1, "what was written is no message")
        guard case .message(let read)? = again.frames.first else { preconditionFailure("what was written is not understood") }
        // Bytes that are no UTF-8 grow when they are replaced, and a text at its bound is cut then; a second time changes nothing.
        var twice: [UInt8] = []
        read.encode(into: &twice)
        let third = decode(type, twice, .max)
        precondition(twice == bytes || third == decode(type, third.encoded, .max), "a message changes when written again")
    }
}

extension Decoded {
    fileprivate var encoded: [UInt8] {
        var bytes: [UInt8] = []
        for case .message(let message) in frames { message.encode(into: &bytes) }
        return bytes
    }
}

/// The chunks do not matter, nothing is added, and only a conversation has data.
private func checkLine(_ stream: [UInt8], _ chunk: Int) {
    func receive(_ size: Int) -> (data: [UInt8], reply: [UInt8], finding: LineReceiver.Finding, isOpen: Bool) {
        var receiver = LineReceiver()
        var (data, reply): ([UInt8], [UInt8]) = ([], [])
        for start in stride(from: 0, to: stream.count, by: size) {
            let finding = stream[start..<min(stream.count, start + size)].withUnsafeBytes {
                receiver.receive($0, data: &data, reply: &reply)
            }
            if finding != .nothing { return (data, reply, finding, receiver.isOpen) }
        }
        return (data, reply, .nothing, receiver.isOpen)
    }
    let whole = receive(max(1, stream.count))
    precondition(whole == receive(chunk), "the result depends on the chunks")
    precondition(whole.data.count + whole.reply.count <= stream.count, "bytes out of nothing")
    let isUntouched = whole.data.isEmpty && whole.reply.isEmpty && whole.finding == .nothing
    precondition(whole.isOpen || isUntouched, "a conversation that did not begin")
    // Whatever the data, it passes the line unchanged, and is never taken for the beginning of another conversation.
    var sent = SerialLine.synchronisation(nonce: "0f")
    stream.withUnsafeBytes { SerialLine.escape($0, into: &sent) }
    var receiver = LineReceiver()
    var (data, reply): ([UInt8], [UInt8]) = ([], [])
    let finding = sent.withUnsafeBytes { receiver.receive($0, data: &data, reply: &reply) }
    precondition(finding == .nothing && data == stream && reply == SerialLine.answer(nonce: "0f"), "data is changed by the line")
}

/// The answer is found at its first place, however the stream is cut.
private func checkAnswer(_ stream: [UInt8], _ chunk: Int) {
    let answer = SerialLine.answer(nonce: "1")
    for stream in [stream, stream + answer] {
        var finder = AnswerFinder(nonce: "1")
        var skipped = 0
        for start in stride(from: 0, to: stream.count, by: chunk) {
            skipped += stream[start..<min(stream.count, start + chunk)].withUnsafeBytes { finder.skip($0) }
        }
        let place = stream.indices.first { stream[$0...].starts(with: answer) }
        precondition(finder.isFound == (place != nil) && skipped == place.map { $0 + answer.count } ?? stream.count, "the answer is missed")
    }
}
