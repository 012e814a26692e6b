import CLinux
import ContainerSpec
import Foundation
import Linux
import Testing

@testable import Network

/// A network namespace of its own, in a thread of its own: what else the tests do stays out of it.
func inNamespace(_ body: @escaping @Sendable () throws -> Void) throws {
    final class Outcome: @unchecked Sendable { var error: (any Error)? }
    let outcome = Outcome()
    let done = DispatchSemaphore(value: 0)
    let thread = Thread {
        do {
            try attempt("unshare") { unshare(CLONE_NEWNET) }
            try body()
        } catch { outcome.error = error }
        done.signal()
    }
    thread.start()
    done.wait()
    if let error = outcome.error { throw error }
}

/// Runs a program of busybox in the thread's namespace, and gives what it wrote. Not by Foundation's Process: that does not learn of the
/// end in such a thread.
@discardableResult
func busybox(_ arguments: [String]) throws -> String {
    let program = try start(arguments)
    var text: [UInt8] = []
    while true {
        let byte = fgetc(program)
        if byte == EOF { break }
        text.append(UInt8(truncatingIfNeeded: byte))
    }
    let status = pclose(program)
    if status != 0 { throw NetworkError(arguments.joined(separator: " "), "status \(status)", String(decoding: text, as: UTF8.self)) }
    return String(decoding: text, as: UTF8.self)
}

/// - Parameter pidFile: gets its process id.
func start(_ arguments: [String], pidFile: String = "/dev/null") throws -> UnsafeMutablePointer<FILE> {
    let program = popen("echo $$ >\(pidFile); exec busybox " + arguments.joined(separator: " ") + " 2>&1", "r")
    return try #require(program, "popen: \(Errno(rawValue: errno))")
}

func wanted(_ id: String, _ match: InterfaceSettings.Match, _ change: (inout WantedInterface) throws -> Void) rethrows
    -> WantedInterface
{
    var wanted = WantedInterface(id: id, match: match)
    try change(&wanted)
    return wanted
}

func apply(_ wanted: [WantedInterface]) throws -> [InterfaceReport] {
    let reports = try reports(wanted)
    return wanted.compactMap { wanted in reports.last { $0.id == wanted.id } }
}

/// As they come.
func reports(_ wanted: [WantedInterface]) throws -> [InterfaceReport] {
    var configurator = try Configurator()
    var reports: [InterfaceReport] = []
    configurator.apply(wanted) { reports.append($0) }
    return reports
}
