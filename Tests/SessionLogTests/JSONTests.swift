import Foundation
import SessionLog
import Testing

@Suite struct JSONTests {
    private func object(_ bytes: [UInt8]) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    }

    @Test func stringsRoundTrip() throws {
        let every = String(decoding: (0...255).map { UInt8($0) }, as: UTF8.self) + "\u{7f}\u{2028}🧪\"\\/"
        var writer = JSONWriter()
        writer.beginArray()
        writer.string(every)
        writer.string(utf8: [0x61, 0xFF, 0xC3, 0x28, 0xED, 0xA0, 0x80])
        writer.endArray()
        let array = try #require(try JSONSerialization.jsonObject(with: Data(writer.bytes)) as? [String])
        #expect(array[0] == every)
        #expect(array[1] == String(decoding: [0x61, 0xFF, 0xC3, 0x28, 0xED, 0xA0, 0x80] as [UInt8], as: UTF8.self))
        #expect(array[1].hasPrefix("a\u{FFFD}"))
        #expect(!writer.bytes.contains { $0 < 0x20 || $0 == 0x7F })
    }

    @Test func placesCommas() {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("a")
        writer.beginArray()
        writer.integer(Int64.min)
        writer.integer(UInt64.max)
        writer.bool(true)
        writer.beginObject()
        writer.endObject()
        writer.beginArray()
        writer.endArray()
        writer.endArray()
        writer.member("b", false)
        writer.key("c")
        writer.thousandths(-1_002)
        writer.endObject()
        #expect(
            String(decoding: writer.bytes, as: UTF8.self)
                == #"{"a":[-9223372036854775808,18446744073709551615,true,{},[]],"b":false,"c":-1.002}"#)
    }

    @Test func exitRecordHasEveryMember() throws {
        let record = ExitRecord(
            id: "c", exitCode: 137, signal: "SIGKILL", coreDumped: true, oomKilled: true,
            startedAt: Timestamp(nanoseconds: 1), finishedAt: Timestamp(nanoseconds: sampleTime),
            stdout: StreamTotal(bytes: .max, sha256: "aa"), stderr: StreamTotal(bytes: 1, sha256: "bb"), drain: .deadline,
            error: FailureReport(phase: .rootfs, operation: "mount", object: "/dev/sda", cause: "no such device"))
        let members = try object(SessionEvent.exit(record).json)
        #expect(
            Set(members.keys) == [
                "event", "id", "exitCode", "signal", "coreDumped", "oomKilled", "startedAt", "finishedAt", "stdout", "stderr", "drain",
                "error",
            ])
        #expect(members["event"] as? String == "exit")
        #expect(members["exitCode"] as? Int == 137)
        #expect(members["finishedAt"] as? String == "2026-01-02T03:04:05.678901234Z")
        #expect((members["stdout"] as? [String: Any])?["bytes"] as? UInt64 == .max)
        #expect(
            members["error"] as? [String: String]
                == ["phase": "rootfs", "operation": "mount", "object": "/dev/sda", "cause": "no such device"])

        let least = try object(SessionEvent.exit(ExitRecord(id: "", exitCode: 0)).json)
        #expect(Set(least.keys) == ["event", "id", "exitCode", "coreDumped", "oomKilled", "stdout", "stderr", "drain"])
        #expect(
            (least["stdout"] as? [String: Any])?["sha256"] as? String
                == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    @Test func statusGrowsWithThePhases() throws {
        var status = Status(phase: .boot)
        #expect(Set(try object(status.json).keys) == ["phase", "timings"])
        status = Status(
            phase: .running, id: "c", pid: 42, startedAt: Timestamp(nanoseconds: 5),
            timings: [.init(phase: .boot, microseconds: 1_234), .init(phase: .config, microseconds: 7)], totalMicroseconds: 2_000_001)
        let running = try object(status.json)
        #expect(running["pid"] as? Int == 42)
        #expect(running["timings"] as? [String: Double] == ["boot": 1.234, "config": 0.007, "total": 2000.001])

        status.phase = .exited
        status.pid = nil
        status.exit = ExitRecord(id: "x", exitCode: 3)
        let exited = try object(status.json)
        #expect(exited["id"] as? String == "c")
        #expect(exited["exitCode"] as? Int == 3)
        #expect(exited["startedAt"] as? String == "1970-01-01T00:00:00.000000005Z")
        #expect(exited["stdout"] != nil && exited["drain"] as? String == "eof" && exited["pid"] == nil)

        status = Status(phase: .running, totalMicroseconds: 1)
        status.network = [
            Status.Network(
                interface: "eth0", addresses: ["192.0.2.7/24", "2001:db8::7/64"], gateway: "192.0.2.1", nameservers: ["192.0.2.53"],
                source: "dhcp"),
            Status.Network(interface: "san0", addresses: [], gateway: nil, nameservers: [], source: "static"),
        ]
        #expect(
            String(decoding: status.json, as: UTF8.self)
                == #"{"phase":"running","network":[{"interface":"eth0","addresses":["192.0.2.7/24","2001:db8::7/64"],"#
                + #""gateway":"192.0.2.1","nameservers":["192.0.2.53"],"source":"dhcp"},"#
                + #"{"interface":"san0","addresses":[],"source":"static"}],"timings":{"total":0.001}}"#)

        status = Status(phase: .failed, error: FailureReport(phase: .config, operation: "parse", object: "", cause: "x"))
        #expect(Set(try object(status.json).keys) == ["phase", "error", "timings"])
    }
}
