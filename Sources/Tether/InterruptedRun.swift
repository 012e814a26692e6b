import ContainerSpec
import SessionLog

/// The run before this one, if the VM was started again before it had come to its end: after a kernel panic (panic=), or
/// when someone reset the VM. What guestinfo holds lives as long as the VM is powered on.
enum InterruptedRun {
    /// No status of ours is longer (``StatusReporter``): what is longer is none.
    private static let limit = 60_000

    /// In which phase it was interrupted.
    /// - Parameter status: the value of ``StatusReporter/key`` before this run has written its own.
    /// - Returns: nil after a run that ended, and for whatever is no status: any process in the VM can write the key.
    static func phase(_ status: [UInt8]?) -> Phase? {
        guard let status, status.count <= limit, case .object(let members)? = try? JSONValue.parse(status),
            case .string(let name)? = members.first(where: { $0.name == "phase" })?.value, let phase = Phase(rawValue: name)
        else { return nil }
        return phase == .exited || phase == .failed ? nil : phase
    }
}
