import Foundation
import SessionLog
import SessionReplay
import Testing

/// The products of the build that the boot tests start and look at from outside.
enum Build {
    static let directory: String =
        ProcessInfo.processInfo.environment["TETHER_BUILD_DIR"]
        ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        + "/build"

    /// The path of a built file. Tests do not skip what is not there: they say what makes it.
    static func path(_ name: String) throws -> String {
        let path = directory + "/" + name
        try #require(FileManager.default.fileExists(atPath: path), "\(path) is not there: run `make test`, which builds it")
        return path
    }
}

extension Build {
    /// The kernel command line of the ISO.
    static var kernelArguments: String {
        get throws {
            let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            let file = tests.deletingLastPathComponent().appendingPathComponent("iso/cmdline")
            let text = try String(contentsOf: file, encoding: .utf8)
            return text.split(separator: "\n").filter { !$0.hasPrefix("#") }.joined(separator: " ")
        }
    }
}

/// A directory that goes when the test does.
final class Scratch {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/tether-boot-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }

    @discardableResult
    func write(_ name: String, _ content: Data, mode: Int = 0o644) throws -> String {
        let target = file(name)
        try FileManager.default.createDirectory(
            atPath: (target as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try content.write(to: URL(fileURLWithPath: target))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: target)
        return target
    }
}

/// A program that ran to its end.
struct Finished {
    let status: Int32
    let stdout: Data
    let stderr: Data
    var text: String { String(decoding: stdout, as: UTF8.self) }
    var errorText: String { String(decoding: stderr, as: UTF8.self) }
}

/// A program that runs, with its output in files, so that no pipe can fill.
final class RunningProgram {
    let process = Process()
    private let scratch: Scratch
    /// The file of its standard output.
    let output: String
    private let errors: String

    init(_ arguments: [String]) throws {
        scratch = try Scratch()
        output = scratch.file("stdout")
        errors = scratch.file("stderr")
        for file in [output, errors] { try Data().write(to: URL(fileURLWithPath: file)) }
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: output)
        process.standardError = FileHandle(forWritingAtPath: errors)
        try process.run()
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    /// What it has written to standard error so far.
    var errorText: String { (try? String(decoding: Data(contentsOf: URL(fileURLWithPath: errors)), as: UTF8.self)) ?? "" }

    func finish() throws -> Finished {
        process.waitUntilExit()
        return Finished(
            status: process.terminationStatus, stdout: try Data(contentsOf: URL(fileURLWithPath: output)),
            stderr: try Data(contentsOf: URL(fileURLWithPath: errors)))
    }
}

/// Runs a program to its end.
/// - Parameter whileRunning: called once with the process and the file of its standard output.
func run(_ arguments: [String], whileRunning: ((Process, String) throws -> Void)? = nil) throws -> Finished {
    let program = try RunningProgram(arguments)
    try whileRunning?(program.process, program.output)
    return try program.finish()
}

/// A container VM that ran to its end, and what it left behind.
struct VM {
    let finished: Finished
    let sessionLog: [UInt8]
    let status: [String: Any]
    let console: String
    /// The exit record, if the session log has one.
    let exit: ExitRecord?

    var code: Int32 { finished.status }
    var out: String { finished.text }
    /// Standard error of the container: without tetherctl's own lines.
    var err: String {
        finished.errorText.split(separator: "\n", omittingEmptySubsequences: false)
            .filter { !$0.hasPrefix("tetherctl: ") }.joined(separator: "\n")
    }

    /// Boots the ISO.
    ///
    /// - Parameters:
    ///   - image: a disk; nil for the sample image.
    ///   - config: an OCI configuration; nil to run `command`.
    static func boot(
        image: String? = nil, config: [String: Any]? = nil, options: [String] = [], command: [String] = [],
        whileRunning: ((Process, String) throws -> Void)? = nil
    ) throws -> VM {
        try boot(
            image: image, rawConfig: config.map { try JSONSerialization.data(withJSONObject: $0) }, options: options, command: command,
            whileRunning: whileRunning)
    }

    static func boot(
        image: String? = nil, rawConfig: Data?, options: [String] = [], command: [String] = [],
        whileRunning: ((Process, String) throws -> Void)? = nil
    ) throws -> VM {
        let scratch = try Scratch()
        let command = try arguments(scratch, image: image, rawConfig: rawConfig, options: options, command: command)
        return try collect(run(command, whileRunning: whileRunning), scratch)
    }

    /// The command that boots the ISO and keeps what the run leaves behind in `scratch`.
    /// - Parameter kernelArguments: beside those of the ISO; the kernel is booted without it.
    static func arguments(
        _ scratch: Scratch, image: String? = nil, rawConfig: Data?, options: [String] = [], command: [String] = [],
        kernelArguments: String? = nil
    ) throws -> [String] {
        var arguments = [try Build.path("tetherctl"), "run", "--keep-in", kept(scratch)]
        if let kernelArguments {
            arguments += ["--kernel", try Build.path("kernel/vmlinuz"), "--initrd", try Build.path("initramfs")]
            arguments += ["--append", try Build.kernelArguments + " " + kernelArguments]
        } else {
            arguments += ["--iso", try Build.path("tether.iso")]
        }
        arguments += ["--image", try image ?? Build.path("sample.vmdk"), "--timeout", "1200"]
        if let rawConfig { arguments += ["--config", try scratch.write("config.json", rawConfig)] }
        return arguments + options + (command.isEmpty ? [] : ["--"] + command)
    }

    /// Where such a run keeps its files.
    static func kept(_ scratch: Scratch) -> String { scratch.file("kept") }

    /// What a run that has ended left behind.
    static func collect(_ finished: Finished, _ scratch: Scratch) throws -> VM {
        func read(_ name: String) -> Data { (try? Data(contentsOf: URL(fileURLWithPath: kept(scratch) + "/" + name))) ?? Data() }
        let log = [UInt8](read("session.log"))
        return VM(
            finished: finished, sessionLog: log,
            status: (try? JSONSerialization.jsonObject(with: read("status.json"))) as? [String: Any] ?? [:],
            console: String(decoding: read("console.log"), as: UTF8.self), exit: exitRecord(log))
    }

    /// All events of the session log, in their order.
    var events: [SessionEvent] {
        var decoder = CRIDecoder()
        var events: [SessionEvent] = []
        decoder.decode(sessionLog) { item in
            if case .record(let record) = item, record.stream == .event, let event = SessionEvent(json: record.bytes) {
                events.append(event)
            }
        }
        return events
    }

    private static func exitRecord(_ log: [UInt8]) -> ExitRecord? {
        var decoder = CRIDecoder()
        var found: ExitRecord?
        decoder.decode(log) { item in
            if case .record(let record) = item, record.stream == .event, case .exit(let exit)? = SessionEvent(json: record.bytes) {
                found = exit
            }
        }
        return found
    }

    /// The error of a boot that failed must stand in all three places: session log, status and console.
    func expectFailure(_ code: Int32, phase: String, says parts: [String], sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(self.code == code, "\(finished.errorText)", sourceLocation: sourceLocation)
        #expect(exit?.exitCode == UInt8(code), sourceLocation: sourceLocation)
        #expect(exit?.error?.phase.rawValue == phase, sourceLocation: sourceLocation)
        #expect(status["phase"] as? String == "failed", sourceLocation: sourceLocation)
        let reported = status["error"] as? [String: Any] ?? [:]
        let places = [
            ("session log", "\(exit?.error?.operation ?? "") \(exit?.error?.object ?? ""): \(exit?.error?.cause ?? "")"),
            ("status", "\(reported["operation"] ?? "") \(reported["object"] ?? ""): \(reported["cause"] ?? "")"),
            ("console", console), ("tetherctl", finished.errorText),
        ]
        for (place, text) in places {
            for part in parts { #expect(text.contains(part), "\(place) lacks '\(part)': \(text)", sourceLocation: sourceLocation) }
        }
        #expect(console.contains("Power down") || console.contains("power off"), sourceLocation: sourceLocation)
    }
}

/// A minimal OCI configuration.
func configuration(_ args: [String], _ change: (inout [String: Any], inout [String: Any]) -> Void = { _, _ in }) -> [String: Any] {
    var process: [String: Any] = [
        "args": args, "cwd": "/", "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "user": ["uid": 0, "gid": 0],
    ]
    var config: [String: Any] = ["ociVersion": "1.2.0", "root": ["path": "rootfs"], "hostname": "box"]
    change(&config, &process)
    config["process"] = process
    return config
}
