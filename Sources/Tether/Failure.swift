import Container
import Linux
import SessionLog

/// Why tether ends the VM without the container having run to its own end.
struct Failure: Error {
    let operation: String
    let object: String
    let cause: String
    /// 125: tether could not do it; 126 and 127: the container's command.
    let exitCode: UInt8

    init(_ operation: String, _ object: String, _ cause: String, exitCode: UInt8 = 125) {
        self.operation = operation
        self.object = Failure.bounded(object)
        self.cause = Failure.bounded(cause)
        self.exitCode = exitCode
    }

    /// Short enough for every place it goes to: the status must stay below what guestinfo takes.
    private static func bounded(_ text: String) -> String {
        text.utf8.count <= 4096 ? text : String(decoding: text.utf8.prefix(4096), as: UTF8.self) + "…"
    }

    init(_ error: some OperationFailure) { self.init(error.operation, error.object, error.cause) }

    init(_ error: LaunchError) { self.init(error.operation, error.object, error.cause, exitCode: error.exitCode) }

    /// "mount /dev/sda: Structure needs cleaning"
    var description: String { object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)" }

    func report(in phase: Phase) -> FailureReport {
        FailureReport(phase: phase, operation: operation, object: object, cause: cause)
    }
}
