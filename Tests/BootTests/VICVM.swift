import Foundation
import SessionLog
import SessionReplay
import Testing
import VIC

/// A VM that was configured by VIC's keys, and what became of them.
struct VICVM {
    let vm: VM
    /// Variables by key in lower case, as they were at the end.
    let variables: [String: String]
    /// What the guest tried to set, in its order, and whether the host took it.
    let sets: [(key: String, value: String, isTaken: Bool)]

    init(_ vm: VM, _ scratch: Scratch) throws {
        self.vm = vm
        let text = try String(contentsOfFile: VM.kept(scratch) + "/guestinfo.vmx", encoding: .utf8)
        variables = Dictionary(uniqueKeysWithValues: text.split(separator: "\n").compactMap { Self.variable($0) })
        sets = try Self.sets(VM.kept(scratch))
    }

    /// What the guest has tried to set until now, in its order, and whether the host took it.
    /// - Parameter kept: the directory of the run's files.
    static func sets(_ kept: String) throws -> [(key: String, value: String, isTaken: Bool)] {
        let log = try String(contentsOfFile: kept + "/guestinfo.log", encoding: .utf8)
        return log.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ", maxSplits: 2)
            guard words.count == 3, let (key, value) = Self.variable(words[2]) else { return nil }
            return (key, value, words[1] == "set")
        }
    }

    /// `key = "value"`, in which `|` and two hexadecimal digits stand for a byte.
    private static func variable(_ line: Substring) -> (String, String)? {
        guard let separator = line.range(of: " = \"") else { return nil }
        let parts = line[separator.upperBound...].dropLast().split(separator: "|", omittingEmptySubsequences: false)
        var bytes = Array((parts.first ?? "").utf8)
        for part in parts.dropFirst() { bytes += [UInt8(part.prefix(2), radix: 16) ?? 63] + Array(part.dropFirst(2).utf8) }
        return (String(line[..<separator.lowerBound]), String(decoding: bytes, as: UTF8.self))
    }

    /// What the guest wrote of a session.
    func result(_ session: String, _ name: String, isExec: Bool = false) -> String? {
        let map = isExec ? "execs" : "sessions"
        return variables["guestinfo.vice..\(map)|\(session).\(name)\(isExec ? "@non-persistent" : "")".lowercased()]
    }

    /// What the guest tried to write of a session, in its order: the last part of the key, and the value.
    func order(_ session: String, isExec: Bool = false) -> [String] {
        // Keys are logged as they are compared, in lower case.
        let prefix = "guestinfo.vice..\(isExec ? "execs" : "sessions")|\(session.lowercased())."
        return sets.filter { $0.key.hasPrefix(prefix) }.map {
            let name = $0.key.dropFirst(prefix.count).split(separator: "@")[0]
            let value = Int64($0.value).map { $0 > 1_500_000_000 ? "time" : "\($0)" } ?? $0.value
            return "\(name)=\(value)\($0.isTaken ? "" : " refused")"
        }
    }

    /// Boots the ISO with the keys of a configuration.
    /// - Parameters:
    ///   - raw: values in the place of the configuration's.
    ///   - isEnough: asked with the file of the container's output and the directory of the run's files, until it says that the VM is to
    ///     be stopped, as an interrupt of tetherctl does.
    static func boot(
        image: String? = nil, options: [String] = [], _ config: VICExecutorConfig, raw: [(key: String, value: String)] = [],
        stopWhen isEnough: ((_ output: String, _ kept: String) throws -> Bool)? = nil
    ) throws -> VICVM {
        let scratch = try Scratch()
        var keys = try config.keyValues()
        for (key, value) in raw { for index in keys.indices where keys[index].key == key { keys[index].value = value } }
        let arguments = try VM.arguments(scratch, image: image, rawConfig: nil, options: options + self.options(keys))
        let finished = try run(arguments) { process, output in
            guard let isEnough else { return }
            while process.isRunning, (try? isEnough(output, VM.kept(scratch))) != true { Thread.sleep(forTimeInterval: 0.1) }
            process.interrupt()
        }
        return try VICVM(VM.collect(finished, scratch), scratch)
    }

    static func options(_ keys: [VICKeyValue]) -> [String] { keys.flatMap { ["--guestinfo", "\($0.key)=\($0.value)"] } }

    /// The container's own session, to which others can be added.
    static func config(_ id: String, _ args: [String], _ change: (inout VICSession) -> Void = { _ in }) -> VICExecutorConfig {
        var config = VICExecutorConfig()
        config.id = id
        config.sessions = [session(id, args, change)]
        return config
    }

    static func session(_ id: String, _ args: [String], _ change: (inout VICSession) -> Void = { _ in }) -> VICSession {
        var session = VICSession()
        session.key = id
        session.id = id
        session.path = args.first ?? ""
        session.args = args
        session.env = ["PATH=/bin", "TERM=xterm"]
        session.directory = "/"
        session.stopSignal = "TERM"
        change(&session)
        return session
    }

    /// The records of the session log, and the bytes that are part of none.
    var records: (all: [CRIRecord], skipped: UInt64) {
        var decoder = VICLogDecoder()
        var records: [CRIRecord] = []
        var skipped: UInt64 = 0
        func take(_ item: CRIDecoder.Item) {
            switch item {
            case .record(let record), .truncated(let record): records.append(record)
            case .skipped(_, let count): skipped += count
            }
        }
        decoder.decode(vm.sessionLog, take)
        decoder.finish(take)
        return (records, skipped)
    }

    /// What the records hold of a stream.
    func bytes(_ stream: LogStream) -> [UInt8] {
        var bytes: [UInt8] = []
        for record in records.all where record.stream == stream {
            bytes += record.bytes
            if record.endsLine { bytes.append(UInt8(ascii: "\n")) }
        }
        return bytes
    }

    /// A failure says so in VIC's words, and the VM goes off.
    func expectFailure(
        _ session: String, _ code: Int32, _ started: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(vm.code == code, "\(vm.finished.errorText)", sourceLocation: sourceLocation)
        #expect(result(session, "started") == started, sourceLocation: sourceLocation)
        #expect(result(session, "status") == "\(code)", sourceLocation: sourceLocation)
        let (start, stop) = (Int64(result(session, "detail.starttime") ?? "") ?? 0, Int64(result(session, "detail.stoptime") ?? "") ?? 0)
        #expect(start > 1_500_000_000 && stop >= start, sourceLocation: sourceLocation)
        #expect(vm.status["phase"] as? String == "failed" && vm.sessionLog.isEmpty, sourceLocation: sourceLocation)
        #expect(vm.console.contains("Power down"), sourceLocation: sourceLocation)
    }
}
