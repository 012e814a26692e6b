// Feeds the connection layer and both sides of the authentication whatever libFuzzer makes up, and holds them to what they promise.
// A promise broken is a trap, which libFuzzer reports with the input that caused it.
import SSH

/// The first byte chooses what is fed.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let rest = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    switch start[0] % 5 {
    case 0:
        var peer = HostilePeer()
        peer.run(rest)
    case 1: checkServer(rest)
    case 2: checkClient(rest)
    case 3: checkRequest(rest)
    default: checkLine(rest)
    }
    return 0
}

/// Cuts bytes into payloads: two bytes of length before each, and the last is what is left.
func payloads(_ bytes: [UInt8]) -> [[UInt8]] {
    var (result, position) = ([[UInt8]](), 0)
    while bytes.count - position >= 2 {
        let length = Int(bytes[position]) << 8 | Int(bytes[position + 1])
        position += 2
        let end = min(bytes.count, position + length)
        result.append(Array(bytes[position..<end]))
        position = end
    }
    return result
}

private let session = [UInt8](repeating: 1, count: 32)
private var random: RandomSource { RandomSource { [UInt8](repeating: 2, count: $0) } }

/// Nobody logs in who has no key, whatever is said.
private func checkServer(_ bytes: [UInt8]) {
    guard let key = try? PrivateKey(ed25519Seed: [UInt8](repeating: 3, count: 32)) else { preconditionFailure("there is no key") }
    var rules = AuthenticationRules()
    rules.authorizedKeys = [AuthorizedKey(key.publicKey)]
    rules.openUser = "daemon"
    var server = ServerAuthentication(rules, sessionID: session)
    // A client need not take the answers.
    let takesAnswers = bytes.count % 2 == 0
    var (messages, answers) = (0, 0)
    func take() {
        while let answer = server.nextPayload() {
            precondition([6, 51, 52, 53, 60].contains(answer.first), "a message that no server sends")
            answers += 1
        }
    }
    for payload in payloads(bytes) {
        let wasOut = server.login == nil
        do throws(SSHError) { try server.receive(payload) } catch { break }
        if takesAnswers { take() }
        precondition(server.login == nil || server.login?.user == "daemon", "someone logged in without a key")
        messages += wasOut ? 1 : 0
        precondition(messages <= 24 && answers <= messages, "the server listens without end, or answers what nobody asked")
    }
    take()
    precondition(answers <= messages, "more answers than requests")
}

/// The client offers each key once, and is let in by nothing but SSH_MSG_USERAUTH_SUCCESS.
private func checkClient(_ bytes: [UInt8]) {
    guard let key = try? PrivateKey(ed25519Seed: [UInt8](repeating: 3, count: 32)) else { preconditionFailure("there is no key") }
    var client = ClientAuthentication(user: "someone", keys: [key], sessionID: session, random: random)
    var sent = 0
    var successes = 0
    for payload in payloads(bytes) {
        while client.nextPayload() != nil { sent += 1 }
        do throws(SSHError) { try client.receive(payload, signatureAlgorithms: nil) } catch { break }
        if payload == [52] { successes += 1 }
        precondition(client.isComplete == (successes > 0), "let in by something else")
        precondition(client.banner.utf8.count < 16384, "a banner without end")
    }
    while client.nextPayload() != nil { sent += 1 }
    precondition(sent <= 3, "more than the service, none and one key")
}

/// What was understood can be written again, and means the same.
private func checkRequest(_ bytes: [UInt8]) {
    let names = [
        "pty-req", "window-change", "env", "exec", "subsystem", "signal", "break", "exit-status", "exit-signal", "xon-xoff", "shell",
        "eow@openssh.com",
    ]
    guard let first = bytes.first, let request = SessionRequest(name: names[Int(first) % names.count], data: Array(bytes.dropFirst()))
    else { return }
    // A text that grew when it was made fit to be shown is cut at its bound then; a second time changes nothing.
    guard let again = SessionRequest(name: request.name, data: request.data) else {
        preconditionFailure("what was written is not understood")
    }
    precondition(SessionRequest(name: again.name, data: again.data) == again, "it means something else")
    if case .exitSignal = request { return }
    precondition(again == request, "it means something else")
}

/// A key that was understood is the same key without its options.
private func checkLine(_ bytes: [UInt8]) {
    guard let key = try? AuthorizedKey(line: String(decoding: bytes, as: UTF8.self)) else { return }
    guard let again = try? AuthorizedKey(line: key.key.line) else { preconditionFailure("what was written is not understood") }
    precondition(again.key == key.key && again.permissions == Permissions(), "it is another key")
}
