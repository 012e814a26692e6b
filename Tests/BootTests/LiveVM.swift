import Control
import ControlClient
import Foundation
import Linux
import SessionLog
import Testing

/// A container VM that is looked at while it runs, through its control interface on serial0.
final class LiveVM {
    let client: ControlClient
    private let scratch: Scratch
    private let program: RunningProgram
    private var config: [String: Any]

    /// Boots the ISO and waits until PID 1 answers.
    ///
    /// - Parameters:
    ///   - image: a disk; nil for the sample image.
    ///   - tether: members of the configuration's extension object, beside `control`.
    ///   - isChangeable: the VM reads its configuration from a file, which ``reconfigure(_:)`` changes.
    ///   - isHeld: the container waits for a client to attach, and is not waited for.
    ///   - environment: of tetherctl, beside this process's: `NAME=value`.
    init(
        image: String? = nil, _ args: [String], tether: [String: Any] = [:], options: [String] = [], isChangeable: Bool = false,
        isHeld: Bool = false, environment: [String] = [], _ change: (inout [String: Any], inout [String: Any]) -> Void = { _, _ in }
    ) throws {
        config = configuration(args) { config, process in
            config["tether"] = tether.merging(["control": ["device": "/dev/ttyS0"]]) { _, own in own }
            change(&config, &process)
        }
        scratch = try Scratch()
        let data = try JSONSerialization.data(withJSONObject: config)
        var options = ["--timeout", "1200"] + options
        if isChangeable { options += ["--guestinfo-file", try scratch.write("live.txt", LiveVM.variable(data))] }
        program = try RunningProgram(
            environment + VM.arguments(scratch, image: image, rawConfig: isChangeable ? nil : data, options: options))
        let socket = VM.kept(scratch) + "/attach.sock"
        for _ in 0..<1800 where !FileManager.default.fileExists(atPath: socket) && program.process.isRunning {
            Thread.sleep(forTimeInterval: 0.1)
        }
        do {
            client = try ControlClient(serialSocket: socket, name: "boot-tests", timeout: 120)
        } catch {
            program.process.terminate()
            let vm = try VM.collect(program.finish(), scratch)
            throw LiveVMError(description: "\(error); \(vm.finished.errorText)\n\(vm.console.suffix(4000))")
        }
        // PID 1 answers before it has started the container process.
        for _ in 0..<600 {
            if isHeld { return }
            if let primary = try client.list().first, primary.state != .waiting || primary.restarts > 0 { return }
            Thread.sleep(forTimeInterval: 0.1)
        }
        throw LiveVMError(description: "the container process is not started")
    }

    deinit {
        // A test that failed leaves no VM behind: the first signal stops the container, the second one kills the VM.
        if program.process.isRunning { program.process.terminate() }
        if program.process.isRunning { program.process.terminate() }
    }

    /// Changes what the VM reads when its configuration is read anew.
    func reconfigure(_ change: (inout [String: Any]) -> Void) throws {
        change(&config)
        try reconfigure(JSONSerialization.data(withJSONObject: config))
    }

    func reconfigure(_ text: Data) throws { try scratch.write("live.txt", LiveVM.variable(text)) }

    private static func variable(_ config: Data) -> Data { Data("guestinfo.tether.config=".utf8) + config + Data("\n".utf8) }

    /// Takes the configuration away.
    func removeConfiguration() throws { try FileManager.default.removeItem(atPath: scratch.file("live.txt")) }

    /// The diagnostics until now.
    var console: String { (try? String(contentsOfFile: VM.kept(scratch) + "/console.log", encoding: .utf8)) ?? "" }

    /// Waits until the VM is off.
    func finish() throws -> VM { try VM.collect(program.finish(), scratch) }

    /// Stops the container with its configured signal, or with that, and waits until the VM is off.
    func stop(signal: UInt8 = 0, timeoutMilliseconds: UInt32? = nil) throws -> VM {
        try client.stop(signal: signal, timeoutMilliseconds: timeoutMilliseconds)
        return try finish()
    }

    /// The request for a process.
    /// - Parameter members: of the process object, beside `args`.
    func request(_ args: [String], _ members: [String: Any] = [:], stdin: Bool = false, window: UInt32 = 262_144) throws -> ExecRequest {
        let process = members.merging(["args": args]) { _, own in own }
        return ExecRequest(
            process: Array(try JSONSerialization.data(withJSONObject: process)), stdoutWindow: window, stderrWindow: window,
            wantsStdin: stdin)
    }

    /// Starts a process in the container.
    func exec(_ args: [String], _ members: [String: Any] = [:], stdin: Bool = false, window: UInt32 = 262_144) throws -> RemoteSession {
        try client.exec(request(args, members, stdin: stdin, window: window))
    }

    /// Runs a shell script in the container to its end.
    func shell(
        _ script: String, _ members: [String: Any] = [:], timeout: Double = 60
    ) throws -> (result: SessionResult, out: String, err: String) {
        let session = try exec(["sh", "-c", script], members)
        let result = try session.finish(timeout: timeout)
        try client.forget(session.id)
        return (result, session.output, session.errorOutput)
    }

    /// What PID 1 says of the container's and its own use of the machine.
    func stats() throws -> [String: Any] {
        let document = try client.stats()
        return try #require(try JSONSerialization.jsonObject(with: Data(document)) as? [String: Any])
    }

    /// PID 1's own part of the statistics.
    func tetherStats() throws -> (rssKiB: Int, anonymousKiB: Int, descriptors: Int, sessions: Int) {
        let own = try #require(try stats()["tether"] as? [String: Any])
        return (
            try #require(own["rssKiB"] as? Int), try #require(own["anonymousKiB"] as? Int), try #require(own["descriptors"] as? Int),
            try #require(own["sessions"] as? Int)
        )
    }
}

/// Why a VM could not be looked at.
struct LiveVMError: Error, CustomStringConvertible { let description: String }

/// Expects a request to be refused with a code.
func expectRefusal(
    _ code: RequestFailure.Code, exitCode: UInt8? = nil, says part: String = "", sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    let error = #expect(throws: ControlClientError.self, sourceLocation: sourceLocation) { try body() }
    guard case .refused(let failure)? = error else {
        Issue.record("not refused, but: \(error.map { "\($0)" } ?? "done")", sourceLocation: sourceLocation)
        return
    }
    #expect(failure.code == code, "\(failure)", sourceLocation: sourceLocation)
    if let exitCode { #expect(failure.exitCode == exitCode, "\(failure)", sourceLocation: sourceLocation) }
    let text = "\(failure.operation) \(failure.object): \(failure.cause)"
    if !part.isEmpty { #expect(text.contains(part), "\(failure)", sourceLocation: sourceLocation) }
}
