import CLinux
import Foundation
import GuestInfo
import GuestInfoHost
import Linux
import SessionLog
import Testing
import VIC

@testable import Tether

/// What PID 1 writes to its host from the event loop, while the host opens no channel.
@Suite("Keys that the host refuses") struct HostKeysTests {
    /// A host that refuses whom it is told to.
    private final class Refusing: KeyWriter {
        var maySleep = false
        var refused: Set<String> = []
        private(set) var tries: [String] = []
        private(set) var taken: [String] = []

        func set(_ key: String, _ value: [UInt8]) -> String? {
            tries.append(key)
            if refused.contains(key) { return "info-set \(key): refused" }
            taken.append("\(key)=\(String(decoding: value, as: UTF8.self))")
            return nil
        }
    }

    private func diagnostics() -> Diagnostics { Diagnostics(path: "/nowhere") }

    @Test("nobody sleeps between tries once the loop runs, neither for the status nor for VIC's results")
    func sleeps() throws {
        let model = GuestInfoHost(store: GuestInfoStore())
        var slept: [Int64] = []
        var retry = RetryPolicy()
        retry.sleep = { slept.append($0) }
        let host = HostStore(GuestInfoClient(RPCI(port: ModelPort(model), retry: retry)))
        // As when other guests' processes have all channels.
        model.options.faults = [.init(.failure, at: .open, times: nil)]

        let status = StatusReporter(started: Clock.monotonic(), diagnostics: diagnostics())
        status.host = host
        status.publish()
        #expect(slept == [10, 50, 200], "while it boots it may")
        slept = []
        status.loopBegins()
        for phase in [Phase.launching, .running, .stopping] { status.enter(phase) }
        let reporter = VICReporter(VICResults(id: "c", isExec: false), host: host, diagnostics: diagnostics())
        reporter.started(at: Timestamp(nanoseconds: 1), resurrections: 0)
        #expect(slept.isEmpty)
        let due = try #require(status.nextDeadline)
        #expect(reporter.nextDeadline != nil && due > Clock.monotonic() - 10_000_000_000)

        model.options.faults = []
        status.checkDeadlines(due)
        #expect(status.nextDeadline == nil)
        #expect(model.store[StatusReporter.key].map { String(decoding: $0, as: UTF8.self) }?.contains("\"stopping\"") == true)
        reporter.checkDeadlines(.max)
        #expect(reporter.nextDeadline == nil)
    }

    @Test("the last value is written, a key that is never taken keeps no other back, and the distance of the tries grows")
    func retries() throws {
        let host = Refusing()
        let keys = HostKeys(host, diagnostics())
        host.refused = ["a"]
        keys.write("a", Array("1".utf8))
        keys.write("b", Array("1".utf8))
        #expect(host.taken == ["b=1"])
        keys.write("a", Array("2".utf8))
        for _ in 0..<8 { keys.checkDeadlines(.max) }
        let due = try #require(keys.nextDeadline)
        #expect(due > Clock.monotonic() + 9_000_000_000)
        let tries = host.tries.count
        keys.checkDeadlines(due - 1)
        #expect(host.tries.count == tries, "it is not time yet")
        host.refused = []
        keys.checkDeadlines(due)
        #expect(host.taken == ["b=1", "a=2"] && keys.nextDeadline == nil)
    }

    @Test("the last status stays the last")
    func finish() {
        let host = Refusing()
        let status = StatusReporter(started: Clock.monotonic(), diagnostics: diagnostics())
        status.host = host
        status.loopBegins()
        host.refused = [StatusReporter.key]
        status.enter(.running)
        #expect(!status.finish(.exited, exit: ExitRecord(id: "c", exitCode: 3)))
        host.refused = []
        #expect(status.finish(.exited, exit: ExitRecord(id: "c", exitCode: 3)) && !host.maySleep)
        status.checkDeadlines(.max)
        status.publish()
        #expect(host.taken.count == 1 && host.taken.first?.contains("\"exited\"") == true)
    }
}
