@testable import Attach
import Control
import SSH

/// The bridge, with PID 1 on one side and the connection layer on the other: what a client says comes as it is, without packets.
struct BridgeBed {
    private final class Carrier: ChannelCarrier {
        var connection: Connection

        init() {
            var limits = ConnectionLimits()
            limits.maximumChannels = 64
            limits.maximumQueuedData = 4 * 1024
            connection = Connection(limits)
        }
    }

    private let bridge = AttachBridge()
    private var pid1 = ModelPID1()
    private var client = Carrier()
    private let isVIC: Bool
    private var socketIsBlocked = false
    private var answersWait = false
    private var lineIsBlocked = false

    init(isVIC: Bool) {
        self.isVIC = isVIC
        begin()
    }

    private mutating func begin() {
        bridge.end()
        client = Carrier()
        bridge.begin(client, isVIC: isVIC, software: "OpenSSH_9.0")
    }

    mutating func run(_ script: inout Script) {
        while !script.isOver {
            step(&script)
            turn()
        }
        checkEnd()
    }

    private mutating func step(_ script: inout Script) {
        let kind = script.byte()
        switch kind % 16 {
        case 0, 1, 2, 3, 4, 5, 6: say(Payloads.next(&script))
        case 7, 8, 9: if let message = pid1.speak(&script) { bridge.take(message) }
        case 10: if let message = pid1.deceive(&script) { bridge.take(message) }
        case 11: lineIsBlocked = kind >= 128
        case 12: socketIsBlocked = kind >= 128
        case 13: answersWait = kind >= 128
        case 14: if kind >= 192 { begin() }
        default: break
        }
    }

    private mutating func say(_ payload: [UInt8]) {
        if bridge.isCongested { return }
        do throws(SSHError) { _ = try client.connection.receive(payload) } catch { return begin() }
        while let event = client.connection.nextEvent() { bridge.take(event) }
    }

    private mutating func turn() {
        bridge.pump()
        if !socketIsBlocked, bridge.pendingControl > 0 { bridge.withControl { pid1.take($0) } }
        if !answersWait { while let answer = pid1.nextAnswer() { bridge.take(answer) } }
        bridge.pump()
        var taken = 0
        while !lineIsBlocked, client.connection.nextPayload() != nil {
            taken += 1
            if taken % 4 == 0 { bridge.pump() }
        }
        // A PID 1 that answers `attach` by something else leaves a channel that was never opened, until its client goes.
        precondition(pid1.isDeceived || bridge.channels.count <= client.connection.channelCount, "channels that there are not")
        precondition(bridge.pendingControl <= 256 << 10, "too much waits for PID 1")
    }

    /// What there is comes to an end, and nothing is left of a client that is gone.
    private mutating func checkEnd() {
        (lineIsBlocked, socketIsBlocked, answersWait) = (false, false, false)
        for _ in 0..<8 { turn() }
        precondition(bridge.pendingControl == 0 && pid1.waiting == 0, "something is never said")
        bridge.end()
        for _ in 0..<2 { turn() }
        precondition(bridge.channels.isEmpty && !bridge.isServing && !bridge.isCongested, "something is left of a client that is gone")
        precondition(pid1.attached == 0 || pid1.isDeceived, "a client is gone, and PID 1 was not told")
        begin()
        say([80, 0, 0, 0, 1, 0x6b, 1])
        precondition(client.connection.nextPayload()?.first == 82, "a new client is not answered")
    }
}
