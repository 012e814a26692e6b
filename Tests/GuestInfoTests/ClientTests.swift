import GuestInfo
import GuestInfoHost
import Testing

/// The client against the model: values, lengths, limits and what the host says.
struct ClientTests {
    @Test(arguments: highBandwidths, [false, true])
    func `Values of every length and alignment are read and set unchanged`(_ offered: GuestInfoHost.Options.HighBandwidth, _ garbage: Bool)
        throws
    {
        for length in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 255, 256, 257, 4095, 4096, 60_000] {
            let value = pattern(length)
            let session = Session(["guestinfo.in": value]) {
                $0.highBandwidth = offered
                $0.garbage = garbage
            }
            #expect(try session.client.get("guestinfo.in") == value)
            // A key one character longer shifts the alignment of the request's tail.
            for key in ["guestinfo.o", "guestinfo.ou", "guestinfo.out", "guestinfo.out1"] {
                try session.client.set(key, value)
                #expect(session.host.store[key] == value)
            }
            #expect(session.host.openChannels == 0)
            #expect(session.host.report.channelsOpened == 5)
            #expect(session.host.report.protocolErrors == 0)
        }
    }

    @Test func `The host's bit of each message chooses the port`() throws {
        func calls(_ offered: GuestInfoHost.Options.HighBandwidth) throws -> [Int] {
            let session = Session(["guestinfo.x": bytes("value")]) { $0.highBandwidth = offered }
            _ = try session.client.get("guestinfo.x")
            let report = session.host.report
            return [report.lowBandwidthCalls, report.highBandwidthOutCalls, report.highBandwidthInCalls]
        }
        // "info-get guestinfo.x" is 5 words, "1 value" 2; 5 calls carry none.
        #expect(try calls(.both) == [5, 1, 1])
        #expect(try calls(.out) == [7, 1, 0])
        #expect(try calls(.in) == [10, 0, 1])
        #expect(try calls(.none) == [12, 0, 0])
    }

    @Test(arguments: highBandwidths)
    func `A value of 1 MiB is read, a longer reply refused`(_ offered: GuestInfoHost.Options.HighBandwidth) throws {
        let session = Session(["guestinfo.big": pattern(1 << 20)]) { $0.highBandwidth = offered }
        #expect(try session.client.get("guestinfo.big") == pattern(1 << 20))
        session.host.store["guestinfo.big"] = pattern((1 << 20) + 63)
        let error = #expect(throws: GuestInfoError.self) { try session.client.get("guestinfo.big") }
        #expect(error?.cause == .channel(.replyTooLong(bytes: (1 << 20) + 65, limit: (1 << 20) + 64)))
        #expect(error?.description == "info-get guestinfo.big: reply of 1048641 bytes, the limit is 1048640")
        #expect(session.host.openChannels == 0)
    }

    @Test func `Absent values, in every form`() throws {
        let session = Session([
            "guestinfo.empty": [], "guestinfo.dashes": bytes("---"), "guestinfo.nil": bytes("<nil>"), "guestinfo.space": bytes(" "),
        ])
        for key in ["guestinfo.none", "guestinfo.empty", "guestinfo.dashes", "guestinfo.nil", "tether.other"] {
            #expect(try session.client.get(key) == nil)
        }
        #expect(try session.client.get("guestinfo.space") == bytes(" "))
        #expect(try session.client.get("GuestInfo.Space") == bytes(" "))
    }

    @Test func `A value too long, with a NUL, or a key that is no word is never sent`() throws {
        let session = Session()
        func cause(_ key: String, _ value: [UInt8]) -> GuestInfoError.Cause? {
            do throws(GuestInfoError) {
                try session.client.set(key, value)
                return nil
            } catch { return error.cause }
        }
        #expect(cause("guestinfo.x", pattern(60_001)) == .valueTooLong(bytes: 60_001, limit: 60_000))
        #expect(cause("guestinfo.x", [1, 0, 2]) == .valueContainsNUL)
        for key in ["", "guestinfo.a b", "guestinfo.\n", "guestinfo.\u{e9}", String(repeating: "k", count: 1025)] {
            #expect(cause(key, [1]) == .invalidKey)
        }
        #expect(session.host.report.lowBandwidthCalls == 0)
        #expect(cause(String("guestinfo." + String(repeating: "k", count: 1014)), pattern(60_000)) == nil)
    }

    @Test func `Refusals are told apart`() throws {
        let denied = Session(["guestinfo.x": [1]]) { $0.denyInfo = true }
        #expect(throws: GuestInfoError("info-get", "guestinfo.x", .permissionDenied)) { try denied.client.get("guestinfo.x") }
        #expect(throws: GuestInfoError("info-set", "guestinfo.x", .permissionDenied)) { try denied.client.set("guestinfo.x", [2]) }
        let readOnly = Session(["guestinfo.vice./a": bytes("host")])
        #expect(try readOnly.client.get("guestinfo.vice./a") == bytes("host"))
        #expect(throws: GuestInfoError("info-set", "guestinfo.vice./a", .permissionDenied)) {
            try readOnly.client.set("guestinfo.vice./a", bytes("guest"))
        }
        #expect(readOnly.host.store["guestinfo.vice./a"] == bytes("host"))
        #expect(try readOnly.client.rpci.perform(bytes("no-such-command")) == .failure(bytes("Unknown command")))
        for (reply, cause) in [
            ("0 Unknown command", GuestInfoError.Cause.unknownCommand), ("0 ", .refused("")), ("0 disabled\n!", .refused("disabled?!")),
        ] {
            let session = Session { $0.reply = .bytes(bytes(reply)) }
            #expect(throws: GuestInfoError("info-get", "guestinfo.x", cause)) { try session.client.get("guestinfo.x") }
        }
    }

    @Test(arguments: highBandwidths)
    func `Every form of a reply`(_ offered: GuestInfoHost.Options.HighBandwidth) throws {
        func get(_ reply: GuestInfoHost.Options.Reply) -> Result<[UInt8]?, GuestInfoError> {
            let session = Session {
                $0.reply = reply
                $0.highBandwidth = offered
            }
            let result: Result<[UInt8]?, GuestInfoError>
            do throws(GuestInfoError) { result = .success(try session.client.get("guestinfo.x")) } catch { result = .failure(error) }
            #expect(session.host.openChannels == 0)
            #expect(session.host.report.requests.count == 1)
            return result
        }
        func failure(_ cause: GuestInfoError.Cause) -> Result<[UInt8]?, GuestInfoError> {
            .failure(GuestInfoError("info-get", "guestinfo.x", cause))
        }
        #expect(get(.bytes([])) == failure(.malformedReply(length: 0)))
        #expect(get(.bytes(bytes("1"))) == failure(.malformedReply(length: 1)))
        #expect(get(.bytes(bytes("0"))) == failure(.malformedReply(length: 1)))
        #expect(get(.bytes(bytes("2 x"))) == failure(.malformedReply(length: 3)))
        #expect(get(.bytes(bytes("1x"))) == failure(.malformedReply(length: 2)))
        #expect(get(.bytes(bytes("1 "))) == .success(nil))
        #expect(get(.bytes(bytes("0 No value found"))) == .success(nil))
        #expect(get(.bytes([0x31, 0x20, 0x61, 0, 0x62])) == .success([0x61, 0, 0x62]))
        #expect(get(.none) == failure(.noReply))
    }

    @Test func `A host without cookies is spoken to without`() throws {
        let session = Session(["guestinfo.x": bytes("v")]) { $0.cookies = false }
        #expect(try session.client.get("guestinfo.x") == bytes("v"))
    }

    @Test(arguments: [GuestInfoHost.Options.Device.vmport, .absent])
    func `A device that is not VMware's gives an error`(_ device: GuestInfoHost.Options.Device) {
        let session = Session { $0.device = device }
        #expect(throws: GuestInfoError("info-get", "guestinfo.x", .channel(.notOpened))) { try session.client.get("guestinfo.x") }
        // Two OPENs a try and nothing else: no message step goes to a device that gave no channel.
        #expect(session.host.report.lowBandwidthCalls == 8)
    }

    @Test func `One held channel serves many requests`() throws {
        let session = Session(["guestinfo.x": bytes("v")], use: .held)
        for _ in 0..<100 { #expect(try session.client.get("guestinfo.x") == bytes("v")) }
        #expect(session.host.report.channelsOpened == 1)
        #expect(session.host.openChannels == 1)
        session.client.rpci.close()
        #expect(session.host.openChannels == 0)
    }

    @Test func `A channel that goes out of scope is closed`() throws {
        let host = GuestInfoHost(store: GuestInfoStore())
        func use() throws { _ = try RPCI(port: ModelPort(host), use: .held).perform(bytes("log hello")) }
        for _ in 0..<20 { try use() }
        #expect(host.openChannels == 0)
        #expect(host.report.log.count == 20)
    }

    @Test func `Setting is seen by the host at once`() throws {
        let session = Session()
        var seen: [String] = []
        session.host.store.onSet = { key, value in seen.append("\(key)=\(String(decoding: value, as: UTF8.self))") }
        try session.client.set("guestinfo.Status", bytes("two  words "))
        try session.client.set("guestinfo.status", [])
        #expect(seen == ["guestinfo.status=two  words ", "guestinfo.status="])
        #expect(try session.client.get("guestinfo.status") == nil)
    }
}
