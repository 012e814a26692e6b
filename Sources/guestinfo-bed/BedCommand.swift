import ArgumentParser
import Foundation
import GuestInfoHost
import Linux
import PtraceBed

@main
struct BedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "guestinfo-bed",
        abstract: "Run a program as if in a VMware virtual machine: its guestinfo requests are answered here.",
        discussion: """
            Exits with the program's status, 128 + signal when one ended it, 124 after the deadline, 125 when the bed itself \
            failed, 126 or 127 when the program cannot be run or found.

            A fault is EFFECT@STEP, EFFECT@STEP:TIMES or EFFECT@STEP:TIMES+AFTER. Effects: \
            \(GuestInfoHost.Fault.Effect.allCases.map(\.rawValue).joined(separator: ", ")). Steps: \
            \(GuestInfoHost.Step.allCases.map(\.rawValue).joined(separator: ", ")). TIMES is a number (default 1) or \
            "always"; AFTER is how often the step goes well first.
            """)

    @Option(help: ArgumentHelp("A variable.", valueName: "key=value"))
    var set: [String] = []
    @Option(help: ArgumentHelp("A variable whose value is a file's content.", valueName: "key=path"))
    var setFile: [String] = []
    @Flag(help: "Do not offer the high-bandwidth port.")
    var noHb = false
    @Option(help: "Directions in which the high-bandwidth port is offered: both, out, in, none.")
    var highBandwidth = "both"
    @Option(help: "Inject a fault (see above).")
    var fault: [String] = []
    @Option(help: "Answer every request with this text.")
    var reply: String?
    @Option(help: "Answer every request with this file's content.")
    var replyFile: String?
    @Flag(help: "Send no reply to any request.")
    var noReply = false
    @Flag(help: "Fill pad bytes and the high halves of registers with garbage.")
    var garbage = false
    @Flag(help: "Refuse info-get and info-set: Permission denied.")
    var deny = false
    @Flag(help: "Refuse channels with cookies.")
    var noCookies = false
    @Option(help: "Channels open at once.")
    var channels = 8
    @Option(help: "The device at the port: vmware, vmport (QEMU's), absent.")
    var device = "vmware"
    @Option(help: "What cpuid says: vmware, host.")
    var cpuid = "vmware"
    @Option(help: "Version that GETVERSION answers.")
    var backdoorVersion: UInt32 = 6
    @Option(help: "Seconds after which the program is killed.")
    var timeout: Double = 60
    @Option(help: ArgumentHelp("Write the variables at the end: JSON, values in base64.", valueName: "file"))
    var dumpStore: String?
    @Option(help: ArgumentHelp("Write what the host has seen at the end: JSON.", valueName: "file"))
    var report: String?
    @Argument(parsing: .captureForPassthrough, help: "The program and its arguments, after --.")
    var program: [String]

    func run() throws {
        let command = program.first == "--" ? Array(program.dropFirst()) : program
        guard let name = command.first else { throw ValidationError("no program given") }
        let host = GuestInfoHost(store: try store(), options: try hostOptions())
        var options = PtraceBed.Options()
        options.processor = try value(cpuid, "cpuid")
        guard timeout > 0, timeout < 1e9 else { throw ValidationError("--timeout must be more than 0 seconds") }
        options.milliseconds = Int64(timeout * 1000)
        let ending: PtraceBed.Ending
        do {
            ending = try PtraceBed.run(command, host: host, options: options)
        } catch {
            complain(error.operation == "execve" ? "\(name): \(error.errno)" : "\(error)")
            guard error.operation == "execve" else { throw ExitCode(125) }
            throw ExitCode(error.errno == .noSuchFile ? 127 : 126)
        }
        if ending == .timedOut { complain("\(name) did not end within \(timeout) s and was killed") }
        do {
            if let dumpStore { try write(Dictionary(uniqueKeysWithValues: host.store.all.map { ($0.key, Data($0.value)) }), to: dumpStore) }
            if let report { try write(Summary(host), to: report) }
        } catch {
            complain("\(error.localizedDescription)")
            throw ExitCode(125)
        }
        throw ExitCode(ending.exitStatus)
    }

    private func store() throws -> GuestInfoStore {
        let store = GuestInfoStore()
        for text in set {
            let (key, value) = try pair(text)
            store[key] = Array(value.utf8)
        }
        for text in setFile {
            let (key, path) = try pair(text)
            store[key] = try read(path)
        }
        return store
    }

    private func hostOptions() throws -> GuestInfoHost.Options {
        var options = GuestInfoHost.Options()
        options.highBandwidth = noHb ? .none : try value(highBandwidth, "high-bandwidth")
        options.device = try value(device, "device")
        options.version = backdoorVersion
        options.cookies = !noCookies
        options.maximumChannels = channels
        options.denyInfo = deny
        options.garbage = garbage
        if noReply { options.reply = GuestInfoHost.Options.Reply.none }
        if let reply { options.reply = .bytes(Array(reply.utf8)) }
        if let replyFile { options.reply = .bytes(try read(replyFile)) }
        options.faults = try fault.map { try GuestInfoHost.Fault(argument: $0) }
        return options
    }

    private func pair(_ text: String) throws -> (String, String) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw ValidationError("'\(text)' is not of the form key=value")
        }
        return (String(text[..<equals]), String(text[text.index(after: equals)...]))
    }

    private func value<Choice: RawRepresentable & CaseIterable>(_ text: String, _ option: String) throws -> Choice
    where Choice.RawValue == String {
        guard let choice = Choice(rawValue: text) else {
            throw ValidationError("--\(option) is one of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return choice
    }

    private func read(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

    private func write(_ value: some Encodable, to path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try encoder.encode(value).write(to: URL(fileURLWithPath: path))
    }

    private func complain(_ text: String) { FileHandle.standardError.write(Data("guestinfo-bed: \(text)\n".utf8)) }
}

/// The host's report as it is written to a file.
private struct Summary: Encodable {
    let lowBandwidthCalls, highBandwidthOutCalls, highBandwidthInCalls: Int
    let channelsOpened, channelsLeftOpen, wrongCookies, protocolErrors, faultsInjected: Int
    /// Requests and log lines as text, bytes that are not UTF-8 replaced.
    let requests, log: [String]

    init(_ host: GuestInfoHost) {
        let report = host.report
        lowBandwidthCalls = report.lowBandwidthCalls
        highBandwidthOutCalls = report.highBandwidthOutCalls
        highBandwidthInCalls = report.highBandwidthInCalls
        channelsOpened = report.channelsOpened
        channelsLeftOpen = host.openChannels
        wrongCookies = report.wrongCookies
        protocolErrors = report.protocolErrors
        faultsInjected = report.faultsInjected
        requests = report.requests.map { String(decoding: $0, as: UTF8.self) }
        log = report.log.map { String(decoding: $0, as: UTF8.self) }
    }
}
