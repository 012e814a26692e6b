import Cgroups
import Control
import Linux
import SessionLog
import Sessions

/// What the container uses, and what tether does, as a JSON document (docs/control.md).
enum Statistics {
    static func document(_ runtime: Runtime) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("monotonicMicroseconds", Clock.monotonic() / 1000)
        if let stats = try? runtime.groups.stats() {
            json.key("container")
            stats.write(to: &json)
        }
        json.key("sessions")
        json.beginArray()
        for session in runtime.control.sessions where session.state != .ended { write(session, &json) }
        json.endArray()
        writeOwn(runtime, &json)
        json.endObject()
        return json.bytes
    }

    /// Totals and rates: bytes since the first process's start, and bytes a second since the present one's.
    private static func write(_ session: Session, _ json: inout JSONWriter) {
        json.beginObject()
        json.member("id", session.id)
        json.key("stdoutBytes")
        json.integer(session.end(of: .stdout))
        json.key("stderrBytes")
        json.integer(session.end(of: .stderr))
        let rates = session.throughput(now: Clock.monotonic())
        json.member("stdoutBytesPerSecond", rates.stdout)
        json.member("stderrBytesPerSecond", rates.stderr)
        json.member("clients", Int64(session.attachments.count))
        json.endObject()
    }

    private static func writeOwn(_ runtime: Runtime, _ json: inout JSONWriter) {
        json.key("tether")
        json.beginObject()
        let status = (try? Files.read("/proc/self/status", limit: 1 << 16)) ?? []
        if let resident = kibibytes("VmRSS:", status) { json.member("rssKiB", resident) }
        if let anonymous = kibibytes("RssAnon:", status) { json.member("anonymousKiB", anonymous) }
        // The directory that is read has a descriptor itself.
        if let names = try? Files.list("/proc/self/fd") { json.member("descriptors", Int64(names.count - 1)) }
        json.member("watches", Int64(runtime.loop.count))
        json.member("sessions", Int64(runtime.execs.running + 1))
        json.member("connections", Int64(runtime.control.connections.count))
        json.member("orphansReaped", Int64(runtime.orphans))
        json.endObject()
    }

    /// The number in a line such as "VmRSS:      3784 kB".
    private static func kibibytes(_ name: String, _ status: [UInt8]) -> Int64? {
        for line in status.split(separator: UInt8(ascii: "\n")) where line.starts(with: name.utf8) {
            let digits = line.drop { $0 < UInt8(ascii: "0") || $0 > UInt8(ascii: "9") }.prefix {
                $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")
            }
            return Int64(String(decoding: digits, as: UTF8.self))
        }
        return nil
    }
}
