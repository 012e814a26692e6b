import Foundation

/// A program run to its end, its output collected.
struct Command {
    var status: Int32
    var output: [UInt8]
    var errors: String

    /// - Parameter arguments: the program, searched in PATH, and its arguments.
    static func run(_ arguments: [String], input: [UInt8]? = nil) throws -> Command {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("guestinfo-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        // Files, not pipes: no amount of output can fill them.
        let (out, err, into) = (
            directory.appendingPathComponent("out"), directory.appendingPathComponent("err"), directory.appendingPathComponent("in")
        )
        for file in [out, err] { try Data().write(to: file) }
        try Data(input ?? []).write(to: into)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardInput = try FileHandle(forReadingFrom: into)
        process.standardOutput = try FileHandle(forWritingTo: out)
        process.standardError = try FileHandle(forWritingTo: err)
        try process.run()
        process.waitUntilExit()
        return Command(
            status: process.terminationStatus, output: Array(try Data(contentsOf: out)),
            errors: String(decoding: try Data(contentsOf: err), as: UTF8.self))
    }
}

/// A program run under guestinfo-bed.
struct Bed {
    var command: Command
    /// What the host saw.
    var report: Report
    /// The variables at the end.
    var store: [String: Data]

    struct Report: Decodable {
        let channelsOpened, channelsLeftOpen, wrongCookies, protocolErrors, faultsInjected: Int
        let highBandwidthOutCalls, highBandwidthInCalls: Int
        let requests: [String]
    }

    /// Where `swift build` put the programs: beside this test bundle.
    static func built(_ name: String) throws -> String {
        let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent(name).path
    }

    static func run(_ program: [String], values: [String: [UInt8]] = [:], flags: [String] = [], input: [UInt8]? = nil) throws -> Bed {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("bed-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let (report, dump) = (directory.appendingPathComponent("report"), directory.appendingPathComponent("store"))
        var arguments = [try built("guestinfo-bed"), "--report", report.path, "--dump-store", dump.path] + flags
        for (index, (key, value)) in values.enumerated() {
            let file = directory.appendingPathComponent("\(index)")
            try Data(value).write(to: file)
            arguments += ["--set-file", "\(key)=\(file.path)"]
        }
        let command = try Command.run(arguments + ["--"] + program, input: input)
        return Bed(
            command: command, report: try JSONDecoder().decode(Report.self, from: Data(contentsOf: report)),
            store: try JSONDecoder().decode([String: Data].self, from: Data(contentsOf: dump)))
    }
}
