@testable import Attach
import Control
import LineHandshake
@testable import SSH

var random: RandomSource { RandomSource { [UInt8](repeating: 0x5a, count: $0) } }

private let hostKeys = [try? PrivateKey(ed25519Seed: [UInt8](repeating: 7, count: 32))].compactMap { $0 }

/// The server on its line, with PID 1 behind it and a client before it. What is done between them, and in which pieces, the input says.
struct LineBed {
    private let bridge = AttachBridge()
    private let server: LineServer
    private var pid1 = ModelPID1()
    private var client: RawClient
    private let user: String
    private let compresses: Bool
    private let startsLoggedIn: Bool
    private var now: Int64 = 1_000_000_000
    /// On its way to the server, and to the client.
    private var inbound: [UInt8] = []
    private var outbound: [UInt8] = []
    /// The line takes nothing; PID 1 reads nothing; it does not answer.
    private var lineIsBlocked = false
    private var socketIsBlocked = false
    private var answersWait = false
    /// What was read in one go, and what may have become of it: more where it was compressed.
    private static let chunk = 4096

    init(options: UInt8) {
        var rules = AuthenticationRules()
        rules.allowsNone = true
        rules.openUser = options & 1 == 0 ? "daemon" : nil
        user = options & 1 == 0 ? "daemon" : "container"
        compresses = options & 2 != 0
        startsLoggedIn = options & 4 == 0
        server = LineServer(
            LineServer.Configuration(hostKeys: hostKeys, rules: rules, compresses: compresses), bridge: bridge, random: random, now: now)
        client = RawClient(user: user, compresses: compresses, now: now)
        bridge.announce([HostKey(line: "ssh-ed25519 AAAA", fingerprint: "SHA256:x")])
    }

    mutating func run(_ script: inout Script) {
        if startsLoggedIn { settle() }
        while !script.isOver {
            step(&script)
            turn()
        }
        checkNewClient()
    }

    // MARK: The input's part

    private mutating func step(_ script: inout Script) {
        let kind = script.byte()
        switch kind % 24 {
        case 0: inbound += script.take(script.number())
        case 1, 2: settle()
        case 3: inbound += client.takeOutput(script.number())
        case 4: deliver(script.number())
        case 5: pass(Int64(script.byte()) * 10_000_000)
        case 6: pass(Int64(script.byte()) * 1_000_000_000)
        case 7:
            // Another client, while what the one before it was to get is on its way.
            client = RawClient(user: user, compresses: compresses, now: now)
            if kind >= 128 { outbound = [] }
        case 8: inbound += [0x16, script.byte()]
        case 9, 10, 11, 12, 13: client.send(Payloads.next(&script))
        case 14:
            client.send(Payloads.next(&script))
            settle()
        case 15: if kind >= 192 { client.rekey() }
        case 16, 17, 18, 19: if let message = pid1.speak(&script) { bridge.take(message) }
        case 20: if let message = pid1.deceive(&script) { bridge.take(message) }
        case 21: lineIsBlocked = kind >= 128
        case 22: socketIsBlocked = kind >= 128
        default: answersWait = kind >= 128
        }
    }

    /// What the line has carried comes to the client.
    private mutating func deliver(_ count: Int) {
        let part = Array(outbound.prefix(count))
        outbound.removeFirst(part.count)
        client.receive(part, now: now)
    }

    private mutating func pass(_ time: Int64) {
        now += time
        server.tick(now: now)
    }

    /// One turn of the loop that has the server: nothing is read from the line while too much waits for PID 1.
    private mutating func turn() {
        server.pump()
        if !socketIsBlocked, bridge.pendingControl > 0 { bridge.withControl { pid1.take($0) } }
        if !answersWait { while let answer = pid1.nextAnswer() { bridge.take(answer) } }
        server.pump()
        if !inbound.isEmpty, !bridge.isCongested {
            let part = Array(inbound.prefix(Self.chunk))
            inbound.removeFirst(part.count)
            part.withUnsafeBytes { server.receive($0, now: now) }
            server.pump()
        }
        while !lineIsBlocked, server.pendingOutput > 0 {
            server.withOutput { bytes in
                outbound += bytes
                return bytes.count
            }
        }
        if bridge.closingCause != nil { _ = server.depart(now: now) }
        server.tick(now: now)
        check()
    }

    /// Carries what there is between all three, until nothing moves.
    private mutating func settle() {
        var turns = 0
        var before = (-1, -1, -1, -1)
        while true {
            turn()
            deliver(.max)
            inbound += client.takeOutput(.max)
            let after = (inbound.count, outbound.count, bridge.pendingControl, server.pendingOutput)
            if inbound.isEmpty && after == before { return }
            if after == before, bridge.isCongested { return }
            before = after
            turns += 1
            precondition(turns < 10_000, "it never rests")
        }
    }

    // MARK: What is promised

    private func check() {
        precondition(server.pendingOutput <= 128 * 1024, "too much waits for the line")
        precondition(pid1.isDeceived || bridge.channels.count <= 64, "too many channels")
        // A document of 32 KiB is one message of a few bytes where it was compressed.
        precondition(bridge.pendingControl <= (compresses ? 8 << 20 : 512 << 10), "too much waits for PID 1")
        guard !pid1.isDeceived else { return }
        for channel in bridge.channels {
            let held = channel.pending.reduce(0) { $0 + ($1.standsFor == 0 ? 0 : $1.data.count) }
            precondition(held <= 2 * 24 * 1024, "too much output is held for a channel")
        }
    }

    /// Whatever came before, who comes now gets in, within the time that docs/attach.md gives, and is served.
    private mutating func checkNewClient() {
        (lineIsBlocked, socketIsBlocked, answersWait) = (false, false, false)
        inbound = []
        outbound = []
        for _ in 0..<4 { turn() }
        if bridge.closingCause != nil { return checkDeparture() }
        pass(1_000_000_000)
        synchronise()
        client = RawClient(user: user, compresses: compresses, now: now)
        client.receive(outbound, now: now)
        outbound = []
        settle()
        precondition(client.isLoggedIn, "a new client is not let in")
        precondition(pid1.attached == 0 || pid1.isDeceived, "a client is gone, and PID 1 was not told")
        client.send([80, 0, 0, 0, 1, 0x6b, 1])
        var writer = WireWriter(message: 90)
        writer.text("session")
        for number: UInt32 in [7, 1000, 1000] { writer.uint32(number) }
        client.send(writer.bytes)
        settle()
        precondition(client.received[82] == 1 && client.received[91] == 1, "a new client is not answered")
        writer = WireWriter(message: 98)
        writer.uint32(client.channel)
        writer.text("shell")
        writer.boolean(true)
        client.send(writer.bytes)
        settle()
        precondition(client.received[99] == 1 && !client.isOver, "a new client is given no session")
        precondition(pid1.attached == 1 || pid1.isDeceived, "PID 1 was not asked for a session")
    }

    private mutating func synchronise() {
        var initiator = HandshakeInitiator(seed: 9, now: now)
        let limit = now + 5_000_000_000
        while true {
            inbound += initiator.takeOutput()
            turn()
            let skipped = outbound.withUnsafeBytes { initiator.receive($0, now: now) }
            outbound.removeFirst(skipped)
            if initiator.isSynchronised { return }
            let next = min(initiator.nextDeadline ?? .max, server.nextDeadline ?? .max)
            if next > now, initiator.nextDeadline != nil {
                precondition(now < limit, "a new client gets no answer")
                pass(max(1_000_000, min(next - now, 100_000_000)))
            } else {
                pass(1_000_000)
            }
            initiator.tick(now: now)
        }
    }

    /// The VM goes off, and nobody holds it up: a client that takes what it is sent, or takes nothing, for no more than the time it has.
    private mutating func checkDeparture() {
        for _ in 0..<20 {
            outbound = []
            turn()
            if server.depart(now: now), server.pendingOutput == 0 { return }
            pass(1_000_000_000)
        }
        preconditionFailure("the server does not depart")
    }
}
