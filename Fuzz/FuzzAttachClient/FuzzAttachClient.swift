// Feeds what the client of the attach line reads beside SSH whatever libFuzzer makes up: an agent's answers, texts of a guest's for
// people, and the keys that leave a session. A promise broken is a trap, which libFuzzer reports with the input that caused it.
import AttachClient
import SSH

/// The first byte chooses how the rest is cut into pieces.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let stream = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let pieces = stride(from: 0, to: stream.count, by: Int(start[0]) + 1).map { stream[$0..<min(stream.count, $0 + Int(start[0]) + 1)] }
    checkAgent(stream, pieces)
    checkText(stream)
    checkKeys(stream, pieces)
    return 0
}

private enum Framed: Equatable {
    case incomplete, refused
    case message([UInt8])
}

/// The pieces do not matter, and an answer has no more than came.
private func checkAgent(_ stream: [UInt8], _ pieces: [ArraySlice<UInt8>]) {
    func frame(_ pieces: [ArraySlice<UInt8>]) -> Framed {
        var frame = AgentFrame()
        do {
            for piece in pieces { if let message = try frame.receive(piece) { return .message(message) } }
        } catch { return .refused }
        return .incomplete
    }
    let whole = frame([stream[...]])
    let cut = frame(pieces)
    // What follows a message is seen only where it comes with it.
    if whole != .refused || stream.count < 4 { precondition(whole == cut, "the result depends on the pieces") }
    if case .message(let message) = cut { precondition(message.count + 4 <= stream.count, "a message out of nothing") }
    switch try? AgentAnswer(stream) {
    case .identities(let keys)?: precondition(keys.reduce(0) { $0 + $1.blob.count } <= stream.count, "keys out of nothing")
    case .signature(let bytes)?: precondition(bytes.count + 5 == stream.count, "a signature out of nothing")
    case .failure?: precondition(stream.first == 5)
    case nil: break
    }
}

/// Nothing in it commands a terminal, and what is harmless stays.
private func checkText(_ stream: [UInt8]) {
    let text = String(decoding: stream, as: UTF8.self)
    for (result, allowed) in [(text.printable, ""), (text.printableJSON, "\n\t")] as [(String, String)] {
        for scalar in result.unicodeScalars where scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) {
            precondition(allowed.unicodeScalars.contains(scalar), "a control character is left")
        }
    }
    if stream.allSatisfy({ (0x20..<0x7F).contains($0) }) { precondition(text.printable == text && text.printableJSON == text) }
}

/// The keys are found where they stand first, however they are typed, and everything before them is the process's.
private func checkKeys(_ stream: [UInt8], _ pieces: [ArraySlice<UInt8>]) {
    guard var keys = DetachKeys("ctrl-a,ctrl-a,b") else { return }
    let pattern: [UInt8] = [1, 1, 98]
    var input: [UInt8] = []
    var isDetached = false
    for piece in pieces where !isDetached {
        let (more, isOver) = keys.filter(piece)
        input += more
        isDetached = isOver
    }
    let place = stream.indices.first { stream[$0...].starts(with: pattern) }
    precondition(isDetached == (place != nil), "the keys are missed, or were not there")
    let expected = stream.prefix(place ?? stream.count)
    // What may still become the keys is held back.
    precondition(expected.starts(with: input) && expected.count - input.count < pattern.count, "the process gets something else")
    if isDetached { precondition(input.count == expected.count, "something before the keys is lost") }
}
