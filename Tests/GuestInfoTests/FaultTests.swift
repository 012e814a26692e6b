import GuestInfo
import GuestInfoHost
import Testing

/// The client against a host that fails at a step, once or for ever.
struct FaultTests {
    static let value = pattern(4097)

    /// Gets and sets through a host with `fault`; true when both went well. Nothing may be left open but what the host
    /// itself refuses to close.
    private func survives(_ fault: GuestInfoHost.Fault, _ offered: GuestInfoHost.Options.HighBandwidth, _ use: ChannelUse = .perRequest)
        -> Bool
    {
        let session = Session(["guestinfo.in": Self.value], use: use) {
            $0.faults = [fault]
            $0.highBandwidth = offered
            $0.garbage = true
        }
        var survived = true
        do throws(GuestInfoError) {
            let read = try session.client.get("guestinfo.in")
            #expect(read == Self.value)
            try session.client.set("guestinfo.out", Self.value)
            #expect(session.host.store["guestinfo.out"] == Self.value)
        } catch {
            survived = false
        }
        session.client.rpci.close()
        if fault.step != .close { #expect(session.host.openChannels == 0) }
        // Bounded: at most 4 tries of 10 starts of both messages, low bandwidth.
        #expect(session.host.report.lowBandwidthCalls < 4 * 10 * 3000)
        return survived
    }

    private static func used(_ step: GuestInfoHost.Step, _ offered: GuestInfoHost.Options.HighBandwidth) -> Bool {
        switch step {
        case .sendPayload: offered == .in || offered == .none
        case .highBandwidthOut: offered == .out || offered == .both
        case .receivePayload: offered == .out || offered == .none
        case .highBandwidthIn: offered == .in || offered == .both
        case .open, .sendSize, .receiveSize, .receiveStatus, .close: true
        }
    }

    @Test(arguments: GuestInfoHost.Step.allCases, highBandwidths)
    func `One checkpoint, failure or lost channel at any step is survived`(
        _ step: GuestInfoHost.Step, _ offered: GuestInfoHost.Options.HighBandwidth
    ) {
        for effect in GuestInfoHost.Fault.Effect.allCases {
            for after in [0, 1, 2, 5, 700, 1024] {
                #expect(survives(GuestInfoHost.Fault(effect, at: step, after: after), offered), "\(effect) after \(after)")
                #expect(survives(GuestInfoHost.Fault(effect, at: step, after: after), offered, .held), "\(effect) after \(after), held")
            }
        }
    }

    @Test(arguments: GuestInfoHost.Step.allCases, highBandwidths)
    func `Nine checkpoints in a row at any step are survived`(_ step: GuestInfoHost.Step, _ offered: GuestInfoHost.Options.HighBandwidth) {
        // OPEN has no checkpoint of its own: there each is a plain failure, and only so many tries.
        #expect(survives(GuestInfoHost.Fault(.checkpoint, at: step, times: step == .open ? 7 : 9), offered))
    }

    @Test(arguments: GuestInfoHost.Step.allCases, highBandwidths)
    func `A step that fails for ever gives an error in bounded tries`(
        _ step: GuestInfoHost.Step, _ offered: GuestInfoHost.Options.HighBandwidth
    ) {
        for effect in GuestInfoHost.Fault.Effect.allCases {
            // A CLOSE that fails is no failure of the request; the channels of this host run out only later.
            let expected = step == .close || !Self.used(step, offered)
            #expect(survives(GuestInfoHost.Fault(effect, at: step, times: nil), offered) == expected, "\(effect)")
        }
    }

    @Test func `The error names the step and the cause`() {
        func description(_ fault: GuestInfoHost.Fault) -> String {
            let session = Session { $0.faults = [fault] }
            do throws(GuestInfoError) {
                try session.client.set("guestinfo.x", [1])
                return ""
            } catch { return error.description }
        }
        #expect(
            description(.init(.checkpoint, at: .highBandwidthOut, times: nil))
                == "info-set guestinfo.x: the host asked 10 times to start the message again")
        #expect(
            description(.init(.failure, at: .receiveSize, times: nil)) == "info-set guestinfo.x: the host failed step RECVSIZE (status 0)")
        #expect(description(.init(.failure, at: .open, times: nil)) == "info-set guestinfo.x: the host opened no channel")
    }

    @Test func `The pauses between tries are the policy's, and bounded`() {
        let host = GuestInfoHost(store: GuestInfoStore())
        host.options.device = .absent
        var slept: [Int64] = []
        var retry = RetryPolicy()
        retry.sleep = { slept.append($0) }
        let client = GuestInfoClient(RPCI(port: ModelPort(host), retry: retry))
        #expect(throws: GuestInfoError.self) { try client.get("guestinfo.x") }
        #expect(slept == [10, 50, 200])
    }

    @Test func `A host that fails CLOSE runs out of channels, and says so itself`() throws {
        let session = Session { $0.faults = [GuestInfoHost.Fault(.failure, at: .close, times: nil)] }
        for _ in 0..<8 { _ = try session.client.get("guestinfo.x") }
        #expect(session.host.openChannels == 8)
        #expect(throws: GuestInfoError("info-get", "guestinfo.x", .channel(.notOpened))) { try session.client.get("guestinfo.x") }
    }
}
