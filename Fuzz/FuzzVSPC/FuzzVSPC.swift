// Feeds both ends of VMware's telnet extension whatever libFuzzer makes up, and holds them to what they promise. A promise broken
// is a trap, which libFuzzer reports with the input that caused it.
import VSPC

/// The first byte chooses how the rest is cut into pieces.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let stream = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let chunk = Int(start[0]) + 1
    checkProxy(stream, chunk)
    checkMachine(stream, chunk)
    checkTransparency(stream, chunk)
    return 0
}

private func pieces(_ stream: [UInt8], _ chunk: Int) -> [ArraySlice<UInt8>] {
    stride(from: 0, to: stream.count, by: chunk).map { stream[$0..<min(stream.count, $0 + chunk)] }
}

/// The pieces do not matter, data is no more than what came, and what is answered is bounded by it.
private func checkProxy(_ stream: [UInt8], _ chunk: Int) {
    func run(_ chunk: Int) -> (events: [ProxySession.Event], output: [UInt8]) {
        var session = ProxySession()
        var events: [ProxySession.Event] = []
        for piece in pieces(stream, chunk) {
            for event in session.receive(piece) {
                if case .data(let more) = event, case .data(let before)? = events.last {
                    events[events.count - 1] = .data(before + more)
                } else {
                    events.append(event)
                }
            }
        }
        return (events, session.takeOutput())
    }
    let whole = run(max(1, stream.count))
    let cut = run(chunk)
    precondition(whole == cut, "the result depends on the pieces")
    var data = 0
    for case .data(let bytes) in whole.events { data += bytes.count }
    precondition(data <= stream.count && whole.events.count <= stream.count, "events out of nothing")
    precondition(whole.output.count <= 64 + 10 * stream.count, "too much is answered")
}

private func checkMachine(_ stream: [UInt8], _ chunk: Int) {
    var session = MachineSession(uuid: "u", name: "n")
    let before = session.takeOutput().count
    var count = 0
    for piece in pieces(stream, chunk) { count += session.receive(piece).count }
    precondition(before > 0 && count <= stream.count && session.takeOutput().count <= 64 + 10 * stream.count, "events out of nothing")
}

/// Whatever the data, it arrives, and as data alone.
private func checkTransparency(_ stream: [UInt8], _ chunk: Int) {
    var machine = MachineSession(uuid: "u", name: "n")
    var proxy = ProxySession()
    _ = machine.takeOutput()
    machine.send(stream[...])
    var received: [UInt8] = []
    for piece in pieces(machine.takeOutput(), chunk) {
        for event in proxy.receive(piece) {
            guard case .data(let bytes) = event else { preconditionFailure("data is taken for something else") }
            received += bytes
        }
    }
    precondition(received == stream, "data is changed by the line")
}
