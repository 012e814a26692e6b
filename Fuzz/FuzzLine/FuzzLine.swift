// Feeds both ends of the line handshake and the detector of a restarted client whatever libFuzzer makes up, and holds them to
// what they promise. A promise broken is a trap, which libFuzzer reports with the input that caused it.
import LineHandshake

/// The first byte chooses how the rest is cut into pieces and how much time passes between them.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let stream = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let chunk = Int(start[0] & 0x0F) + 1
    let pause = Int64(start[0] >> 4) * 60_000_000
    checkResponder(stream, chunk, pause)
    checkInitiator(stream, chunk, pause)
    checkDetector(stream, chunk, pause)
    return 0
}

private func pieces(_ stream: [UInt8], _ chunk: Int) -> [[UInt8]] {
    stride(from: 0, to: stream.count, by: chunk).map { Array(stream[$0..<min(stream.count, $0 + chunk)]) }
}

private func contains(_ stream: [UInt8], _ text: String) -> Bool {
    let text = Array(text.utf8)
    return stream.indices.contains { stream[$0...].starts(with: text) }
}

/// What goes out is a handshake's message, only a client's ACK or banner begins a connection, and after any stream a client that
/// does it right gets through soon.
private func checkResponder(_ stream: [UInt8], _ chunk: Int, _ pause: Int64) {
    var responder = HandshakeResponder(seed: UInt64(stream.count))
    var now: Int64 = 0
    var replies = 0
    for piece in pieces(stream, chunk) {
        now += pause
        switch piece.withUnsafeBytes({ responder.receive($0, now: now) }) {
        case .nothing: break
        case .reply(let bytes):
            replies += 1
            precondition(bytes == [0x15] || bytes.count == 3 && bytes[0] == 0x06 && bytes[1] == piece[piece.count - 1] &+ 1, "no message")
        case .synchronised(let reply, let rest):
            precondition(reply == [0x06] && rest.count <= piece.count && replies > 0, "synchronised out of nothing")
            responder = HandshakeResponder(seed: UInt64(stream.count) &+ 1, recent: rest)
        case .banner(let bytes):
            precondition(contains(bytes, "SSH-2.0-") && contains(stream, "SSH-2.0-") && bytes.count <= piece.count + 8, "no banner")
            responder = HandshakeResponder(seed: UInt64(stream.count) &+ 1)
        }
    }
    // The stream's last byte may make an ACK of the first SYN's first byte, by chance the right one.
    for attempt in 0..<3 {
        let decision = ([0x16, 0x40] as [UInt8]).withUnsafeBytes { responder.receive($0, now: now) }
        guard case .reply(let ack) = decision, ack.count == 3 else {
            precondition(attempt < 2, "three SYNs get no answer")
            if decision != .nothing { responder = HandshakeResponder(seed: 3) }
            continue
        }
        let answer = [0x06, ack[2] &+ 1].withUnsafeBytes { responder.receive($0, now: now) }
        precondition(answer == .synchronised(reply: [0x06], rest: []), "the right ACK is refused")
        break
    }
}

/// However the stream is cut the handshake's end is found at the same place, and it does not answer more than it is told.
private func checkInitiator(_ stream: [UInt8], _ chunk: Int, _ pause: Int64) {
    func run(_ chunk: Int) -> (skipped: Int, isSynchronised: Bool, output: [UInt8]) {
        var initiator = HandshakeInitiator(seed: 5, now: 0)
        // The right answers to the first SYN are rare in a made-up stream: a 1 stands for the number that was asked.
        var output = initiator.takeOutput()
        let number = output[1]
        var skipped = 0
        var now: Int64 = 0
        // A 2 stands for a pause in which an answer counts.
        for burst in stream.split(separator: 2, omittingEmptySubsequences: false) {
            for piece in pieces(Array(burst), chunk) {
                let piece = piece.map { $0 == 1 ? number &+ 1 : $0 }
                skipped += piece.withUnsafeBytes { initiator.receive($0, now: now) }
            }
            now += 20_000_000
            if now < 400_000_000 { initiator.tick(now: now) }
            output += initiator.takeOutput()
        }
        return (skipped, initiator.isSynchronised, output)
    }
    let whole = run(max(1, stream.count))
    precondition(whole == run(chunk), "the result depends on the pieces")
    precondition(whole.isSynchronised || whole.skipped == stream.count { $0 != 2 }, "bytes are left over without a connection")
    precondition(whole.output.count <= 2 + 2 * stream.count, "more is sent than was asked for")
    var initiator = HandshakeInitiator(seed: 6, now: 0)
    var now: Int64 = 0
    for piece in pieces(stream, chunk) {
        now += pause
        initiator.tick(now: now)
        let taken = piece.withUnsafeBytes { initiator.receive($0, now: now) }
        precondition(taken <= piece.count && initiator.isSynchronised == (initiator.nextDeadline == nil), "it waits for nothing")
    }
}

/// Nothing is reported that is not there, and what is reported is what came.
private func checkDetector(_ stream: [UInt8], _ chunk: Int, _ pause: Int64) {
    var detector = RestartDetector(isBannerDue: chunk & 1 != 0, now: 0)
    var now: Int64 = 0
    for piece in pieces(stream, chunk) {
        now += pause
        var restart = detector.tick(now: now)
        if restart == nil { restart = piece.withUnsafeBytes { detector.receive($0, now: now) } }
        precondition(detector.recent.count <= 7, "the detector keeps too much")
        switch restart {
        case .synchronisation(let syn)?:
            precondition(syn.count == 2 && syn[0] == 0x16 && stream.indices.contains { stream[$0...].starts(with: syn) }, "no SYN")
            return
        case .banner(let bytes)?:
            precondition(contains(stream, "SSH-2.0-") && bytes.count <= piece.count + 8, "no banner")
            return
        case nil: detector.connection(isBetweenPackets: piece[0] & 1 != 0)
        }
    }
    // Whatever came before, a client that begins anew after a silence is noticed.
    now += 10_000_000_000
    if detector.tick(now: now) != nil { return }
    let syn: [UInt8] = [0x16, 0x01]
    precondition(syn.withUnsafeBytes { detector.receive($0, now: now) } == nil)
    precondition(detector.nextDeadline == now + 200_000_000, "the SYN is not suspected")
    precondition(detector.tick(now: now + 200_000_000) == .synchronisation(syn), "the SYN is not reported")
}
